#pragma once
// A loss: the weighted sum of pixel, region and rank terms (kernels/scalar/loss_terms.h), and its
// gradient. In two steps, between which the sums of several parts of a batch may be added up.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "base/to_size.h"
#include "kernels/classes.h"
#include "kernels/scalar/error_bins.h"
#include "kernels/scalar/hard_pixels.h"
#include "kernels/scalar/loss_terms.h"
#include "kernels/tensor.h"

namespace macadam {

/// What a class without a labelled pixel in the batch contributes to the mean of a region term.
enum class AbsentClass : uint8_t {
  skip,      // it is left out, and the mean is over the classes present
  zero,      // it counts as a loss of 0, and the mean is over all classes (smp's rule)
  suppress,  // it counts like any other: its predicted probability is pushed down
};

/// Whether a class with so many labelled pixels is one of those that the mean is over, and whether
/// its loss is not 0 in any case.
MACADAM_HD bool is_in_mean(AbsentClass absent, double labeled) {
  return labeled > 0 || absent != AbsentClass::skip;
}
MACADAM_HD bool has_loss(AbsentClass absent, double labeled) {
  return labeled > 0 || absent == AbsentClass::suppress;
}

/// Terms of one loss at most.
constexpr int kMaxLossTerms = 4;
constexpr int kMaxPixelTerms = scalar::PixelTerms<float>::kCount < kMaxLossTerms
                                   ? scalar::PixelTerms<float>::kCount
                                   : kMaxLossTerms;

/// All terms there are; a LossTerm's `kind` is a place here.
std::span<const LossTermInfo> loss_term_infos();
inline bool is_pixel_term(const LossTerm& term) {
  return term.kind < scalar::PixelTerms<float>::kCount;
}
inline bool is_region_term(const LossTerm& term) {
  return !is_pixel_term(term) &&
         term.kind < scalar::PixelTerms<float>::kCount + scalar::RegionTerms::kCount;
}
inline std::string_view name_of(const LossTerm& term) {
  return loss_term_infos()[static_cast<size_t>(term.kind)].name;
}
/// The term of that kind with its parameters' defaults.
LossTerm loss_term(int kind, float weight);
/// By name, which there is, and with `parameters` for the first of them.
LossTerm loss_term(std::string_view name, float weight = 1, std::span<const float> parameters = {});

/// With m = label != ignore, and sums over the whole batch:
///   pixel term  = sum m * v * f(scores) / sum m * v, v = w[label], times a weight of the pixel's
///                 own where the term has such
///   region term = mean over classes, weighted if desired, of g(I_c, P_c, G_c),
///                 I_c = sum m p_c [label = c], P_c = sum m p_c, G_c = sum m [label = c],
///                 p = softmax(logits)
///   rank term   = mean over classes with G_c > 0 of sum m g_c,i |[label = c] - p_c|,
///                 where the slope g is of the errors' order
///                 (kernels/scalar/error_bins.h: errors are rounded for it)
///
///   total       = sum of weight * term
/// Without a term no sum is taken that it alone needs. All sums are in fp32 or wider. No valid
/// pixel gives losses and gradients of 0.
struct LossDesc {
  /// In ascending order of kinds, none behind one of weight 0. By default cross-entropy alone.
  LossTerm terms[kMaxLossTerms] = {{.weight = 1}};
  AbsentClass absent = AbsentClass::skip;
  bool weigh_regions = false;  // the means of region terms over classes have the classes' weights
  // Region terms are means over the images that have a label, each with sums of its own, instead of
  // functions of the batch's sums.
  bool per_image = false;
  int ignore = 255;
  /// In device memory, on the gradient alone; null: 1. Powers of two change no bit of it but the
  /// exponent.
  const float* gradient_scale = nullptr;

  std::span<const LossTerm> used() const;
};

/// A loss of these terms, which are of different kinds.
LossDesc make_loss(std::span<const LossTerm> terms);
inline LossDesc make_loss(std::initializer_list<LossTerm> terms) {
  return make_loss(std::span(terms.begin(), terms.size()));
}

/// The loss for so many classes, which no weight is over then.
LossDesc with_classes(LossDesc loss, int classes);

/// Results in device memory.
struct LossValues {
  float total = 0;
  float valid_pixels = 0;
  float terms[kMaxLossTerms] = {};  // in the order of LossDesc, without their weights
};

/// Where sums() leaves what: numbers in double. The first shared() of them are additive over parts
/// of a batch; what follows is the backend's own.
class LossSums {
 public:
  MACADAM_HD LossSums(const LossDesc& desc, int classes) : classes_(classes) {
    constexpr int kPixel = scalar::PixelTerms<float>::kCount;
    for (const LossTerm& term : desc.terms) {
      if (term.weight == 0) break;
      if (term.kind < kPixel) {
        scalar::visit_pixel_term<float>(term, [&](const auto& of) {
          if (of.kWeighting == scalar::PixelWeighting::hardest) hard_term_ = pixel_terms_;
          if (of.kWeighting == scalar::PixelWeighting::edges) {
            edge_terms_ |= 1 << pixel_terms_;
            ++own_weights_;
          }
          if (of.kOfClasses) class_term_ = pixel_terms_;
        });
        ++pixel_terms_;
      } else {
        ++(term.kind < kPixel + scalar::RegionTerms::kCount ? region_terms_ : rank_terms_);
      }
    }
    images_ = desc.per_image && region_terms_ > 0 ? 1 : 0;
  }

  MACADAM_HD int pixel_terms() const { return pixel_terms_; }
  MACADAM_HD int region_terms() const { return region_terms_; }
  /// The number of the pixel term that wants the hardest pixels, or -1.
  MACADAM_HD int hard_term() const { return hard_term_; }
  /// Whether region terms have sums of each image.
  MACADAM_HD bool has_images() const { return images_ > 0; }
  /// Whether pixel terms are functions of a pixel's probabilities and labels alone.
  MACADAM_HD bool has_plain_terms() const { return !has_hard() && !has_edges() && class_term_ < 0; }
  /// Whether a pixel term wants to know of edges, and whether this one does.
  MACADAM_HD bool has_edges() const { return edge_terms_ != 0; }
  MACADAM_HD bool is_edge_term(int k) const { return (edge_terms_ >> k & 1) != 0; }
  /// The number of the pixel term that is of classes, or -1.
  MACADAM_HD int class_term() const { return class_term_; }
  /// Whether sums of each class are taken, and whether errors and hard pixels are counted.
  MACADAM_HD bool has_class_sums() const { return region_terms_ > 0 || has_counts(); }
  MACADAM_HD bool has_errors() const { return rank_terms_ > 0; }
  MACADAM_HD bool has_hard() const { return hard_term_ >= 0; }
  MACADAM_HD bool has_counts() const { return has_errors() || has_hard(); }

  /// Of the labelled pixels' weights, and how many they are.
  static constexpr int kWeights = 0, kPixels = 1;
  /// With images, how many have a labelled pixel. Behind the weights of terms that have their own.
  MACADAM_HD int images() const { return 2 + own_weights_; }
  /// With class sums, each of all classes and of the whole batch.
  MACADAM_HD int labeled() const { return images() + images_; }
  MACADAM_HD int intersection() const { return labeled() + classes_; }
  MACADAM_HD int predicted() const { return labeled() + 2 * classes_; }
  /// Numbers of pixels: with errors of those at scalar::error_place, with hard pixels of those at
  /// scalar::hardness_place, but for bins 0.
  MACADAM_HD int counts() const { return labeled() + (has_class_sums() ? 3 * classes_ : 0); }
  MACADAM_HD int errors() const { return counts(); }
  MACADAM_HD int error_counts() const {
    return has_errors() ? scalar::error_place(classes_, 0, false) : 0;
  }
  MACADAM_HD int hardness() const { return errors() + error_counts(); }
  MACADAM_HD int hardness_counts() const {
    return has_hard() ? scalar::hardness_place(classes_, 0) : 0;
  }
  MACADAM_HD int shared() const { return hardness() + hardness_counts(); }
  /// Of pixel term number `k` among these.
  MACADAM_HD int pixel_term(int k) const { return shared() + k; }
  /// Of the weights that it is the mean over: those of the hardest are made of their counts.
  MACADAM_HD int weights(int k) const {
    if (k == hard_term_) return shared() + pixel_terms_;
    if (!is_edge_term(k)) return kWeights;
    int place = 2;
    for (int before = 0; before < k; ++before) place += is_edge_term(before) ? 1 : 0;
    return place;
  }
  MACADAM_HD int count() const { return shared() + pixel_terms_ + (has_hard() ? 1 : 0); }

  size_t bytes() const { return to_size(count()) * sizeof(double); }

 private:
  int classes_;
  int pixel_terms_ = 0, region_terms_ = 0, rank_terms_ = 0;
  int hard_term_ = -1, class_term_ = -1;
  int edge_terms_ = 0;  // bits
  int own_weights_ = 0, images_ = 0;
};

/// How far from an edge a pixel term looks; 0: not at all.
MACADAM_HD int edge_width(const LossTerm& term) {
  int width = 0;
  scalar::visit_pixel_term<float>(term, [&](const auto& of) { width = of.width(); });
  return width;
}

/// Throws std::logic_error unless the loss can be had of these.
void check_loss(const LossDesc& desc, const Tensor& logits, const Tensor& labels);

/// logits: NxHxWxC, C <= kMaxLossClasses. labels: u8 NxHxWx1, each < C or equal to `ignore`; others
/// count as ignored. class_weights: f32 {1,1,1,C} or null data (all 1).
class LossOps {
 public:
  virtual ~LossOps() = default;

  /// Of the workspace that sums() and gradient() share, which begins with LossSums.
  virtual size_t workspace_bytes(const LossDesc& desc, Shape logits) const = 0;
  /// The sums over the batch that the gradient needs.
  virtual void sums(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                    const Tensor& class_weights, void* workspace) = 0;
  /// From the sums: the values, in device memory, and d_logits, the gradient of `total` times
  /// gradient_scale, dtype of logits, or null data for the values alone; it may be the same view as
  /// logits, whose spare channels then stay as they are. After sums() with the same arguments;
  /// where sums of other parts were added to its own, the values of pixel terms are shares, which
  /// add up, and so are those of region terms with sums of each image.
  virtual void gradient(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                        const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
                        void* workspace) = 0;

  /// Both in turn.
  void run(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
           const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
           void* workspace) {
    sums(desc, logits, labels, class_weights, workspace);
    gradient(desc, logits, labels, class_weights, d_logits, values, workspace);
  }
};

}  // namespace macadam
