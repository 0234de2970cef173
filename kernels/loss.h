#pragma once
// A loss: the weighted sum of pixel terms and region terms (kernels/scalar/loss_terms.h), and its
// gradient. In two steps, between which the sums of several parts of a batch may be added up.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "base/to_size.h"
#include "kernels/classes.h"
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
inline bool is_region_term(const LossTerm& term) { return !is_pixel_term(term); }
inline std::string_view name_of(const LossTerm& term) {
  return loss_term_infos()[static_cast<size_t>(term.kind)].name;
}
/// The term of that kind with its parameters' defaults.
LossTerm loss_term(int kind, float weight);
/// By name, which there is, and with `parameters` for the first of them.
LossTerm loss_term(std::string_view name, float weight = 1, std::span<const float> parameters = {});

/// With m = label != ignore, and sums over the whole batch:
///   pixel term  = sum m * w[label] * f(scores) / sum m * w[label]
///   region term = mean over classes of g(I_c, P_c, G_c),
///                 I_c = sum m p_c [label = c], P_c = sum m p_c, G_c = sum m [label = c],
///                 p = softmax(logits)
///   total       = sum of weight * term
/// Without a term no sum is taken that it alone needs. All sums are in fp32 or wider. No valid
/// pixel gives losses and gradients of 0.
struct LossDesc {
  /// In ascending order of kinds, none behind one of weight 0. By default cross-entropy alone.
  LossTerm terms[kMaxLossTerms] = {{.weight = 1}};
  AbsentClass absent = AbsentClass::skip;
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
    for (const LossTerm& term : desc.terms) {
      if (term.weight == 0) break;
      term.kind < scalar::PixelTerms<float>::kCount ? ++pixel_terms_ : ++region_terms_;
    }
  }

  MACADAM_HD int pixel_terms() const { return pixel_terms_; }
  MACADAM_HD bool has_regions() const { return region_terms_ > 0; }

  /// Of the labelled pixels' weights, and how many they are.
  static constexpr int kWeights = 0, kPixels = 1;
  /// With region terms, each of all classes.
  MACADAM_HD int labeled() const { return 2; }
  MACADAM_HD int intersection() const { return 2 + classes_; }
  MACADAM_HD int predicted() const { return 2 + 2 * classes_; }
  MACADAM_HD int shared() const { return 2 + (has_regions() ? 3 * classes_ : 0); }
  /// Of pixel term number `k` among these.
  MACADAM_HD int pixel_term(int k) const { return shared() + k; }
  MACADAM_HD int count() const { return shared() + pixel_terms_; }

  /// Room for the sums of any loss.
  static constexpr size_t bytes(int classes) {
    return (2 + 3 * to_size(classes) + kMaxLossTerms) * sizeof(double);
  }

 private:
  int classes_;
  int pixel_terms_ = 0, region_terms_ = 0;
};

/// Throws std::logic_error unless the loss can be had of these.
void check_loss(const LossDesc& desc, const Tensor& logits, const Tensor& labels);

/// logits: NxHxWxC, C <= kMaxLossClasses. labels: u8 NxHxWx1, each < C or equal to `ignore`; others
/// count as ignored. class_weights: f32 {1,1,1,C} or null data (all 1).
class LossOps {
 public:
  virtual ~LossOps() = default;

  /// Of the workspace that sums() and gradient() share, which begins with LossSums.
  virtual size_t workspace_bytes(Shape logits) const = 0;
  /// The sums over the batch that the gradient needs.
  virtual void sums(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                    const Tensor& class_weights, void* workspace) = 0;
  /// From the sums: the values, in device memory, and d_logits, the gradient of `total` times
  /// gradient_scale, dtype of logits, or null data for the values alone; it may be the same view as
  /// logits, whose spare channels then stay as they are. After sums() with the same arguments;
  /// where sums of other parts were added to its own, the values of pixel terms are shares, which
  /// add up.
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
