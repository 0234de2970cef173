#pragma once
// The terms that a loss is the weighted sum of. Each is one structure here, which holds its name,
// its parameters and its formula once, and a row in tests/kernels/cases_loss.cpp. Expressions,
// configuration keys and their documents, logs and the kernels of all backends follow from the
// lists at the end. Real is float in kernels, double in the reference.

#include <cmath>
#include <cstdint>

#include "kernels/scalar/exp_log.h"
#include "kernels/scalar/host_device.h"

namespace macadam {

/// A number of a term, and how the configuration sets it.
struct LossParameter {
  const char* key = nullptr;
  const char* meaning = nullptr;
  double by_default = 0, least = 0, most = 0;
  bool whole = false;  // no fractions
};

constexpr int kMaxLossParameters = 3;

struct LossTermInfo {
  const char* name;  // in expressions, logs and results
  const char* meaning;
  LossParameter parameters[kMaxLossParameters] = {};  // those that have a key
};

/// One term of a loss.
struct LossTerm {
  float weight = 0;  // 0: there is none here
  int kind = 0;      // its place in PixelTerms, behind these RegionTerms, behind these RankTerms
  float parameters[kMaxLossParameters] = {};
  bool over_classes = false;  // the weight is over their number still: with_classes()
};

namespace scalar {

/// What a pixel term sees of one labelled pixel's scores.
template <typename Real>
struct PixelScores {
  Real log_sum_exp, label_score;
  Real score_sum;  // of all classes; there where a term's label_smoothing() is positive
  Real class_sum;  // of class_value(); there where a term is of the classes
  int classes;

  /// Of the label's class; above 0 through rounding alone.
  MACADAM_HD Real log_probability() const {
    const Real log_p = label_score - log_sum_exp;
    return log_p > 0 ? Real{0} : log_p;
  }
};

/// What a pixel's weight in a term depends on besides its label.
enum class PixelWeighting : uint8_t {
  labels,   // nothing
  hardest,  // whether it is one of the hardest (HardPixels)
  edges,  // whether there is a pixel of another label near it, in either axis at most width() away
};

/// What there is to know of a pixel for that.
struct PixelPlace {
  bool hard = false, near_edge = false;
};

// A pixel term's value is a function of one pixel's scores, and the term's the mean over all
// labelled pixels, with weights: the label's times weight(). Its derivative by the score of a
// class is slope() * label_gradient() at label_smoothing(); or, where kOfClasses, class_slope()
// over the number of classes.

/// Whether a term knows of no pixel but its own, and of that the probabilities.
template <typename Term>
constexpr bool kIsPlain = Term::kWeighting == PixelWeighting::labels && !Term::kOfClasses;

/// What most pixel terms are.
template <typename Real>
struct PixelTerm {
  static constexpr PixelWeighting kWeighting = PixelWeighting::labels;
  static constexpr bool kOfClasses = false;

  MACADAM_HD Real label_smoothing() const { return 0; }
  MACADAM_HD Real weight(const PixelPlace&) const { return 1; }
  MACADAM_HD int width() const { return 0; }
  MACADAM_HD Real class_value(Real, bool) const { return 0; }
  MACADAM_HD Real class_slope(Real, bool) const { return 0; }
};

/// p minus the label's one-hot vector, of which `smoothing` is spread over all classes.
template <typename Real>
MACADAM_HD Real label_gradient(Real p, bool is_label, Real smoothing, int classes) {
  return p - (is_label ? 1 - smoothing : Real{0}) - smoothing / static_cast<Real>(classes);
}

/// -((1 - s) * log p[label] + s / C * sum_c log p[c]), as PyTorch has it.
template <typename Real>
struct CrossEntropy : PixelTerm<Real> {
  static constexpr LossTermInfo kInfo{
      "ce",
      "softmax cross-entropy",
      {{"label_smoothing", "share of the label that is spread over all classes in ce", 0, 0,
        0.999}}};

  Real smoothing;

  MACADAM_HD explicit CrossEntropy(const float* parameters) : smoothing(parameters[0]) {}
  MACADAM_HD Real value(const PixelScores<Real>& scores) const {
    return scores.log_sum_exp - (1 - smoothing) * scores.label_score -
           smoothing / static_cast<Real>(scores.classes) * scores.score_sum;
  }
  MACADAM_HD Real slope(const PixelScores<Real>&) const { return 1; }
  MACADAM_HD Real label_smoothing() const { return smoothing; }
};

/// -(1 - p)^gamma * log p, and minus its derivative by log p.
template <typename Real>
struct FocalCurve {
  Real gamma;

  MACADAM_HD Real value(Real log_p) const { return -log_p * power_of_miss(1 - exp_inline(log_p)); }
  MACADAM_HD Real slope(Real log_p) const {
    const Real p = exp_inline(log_p), miss = 1 - p;
    const Real ratio = miss > 0 ? -log_p / miss : Real{1};  // 1 is its limit at p = 1
    return power_of_miss(miss) * (1 + gamma * p * ratio);
  }

 private:
  /// miss^gamma, with 0^0 = 1.
  MACADAM_HD Real power_of_miss(Real miss) const {
    const Real at_zero = gamma > 0 ? Real{0} : Real{1};
    return miss > 0 ? exp_inline(gamma * log_inline(miss)) : at_zero;
  }
};

/// With p the label's probability (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
/// over the softmax).
template <typename Real>
struct Focal : PixelTerm<Real> {
  static constexpr LossTermInfo kInfo{
      "focal",
      "focal loss over the softmax",
      {{"focal_gamma",
        "how strongly pixels that are right already are discounted in focal; 0: as ce", 2, 0, 10}}};

  FocalCurve<Real> curve;

  MACADAM_HD explicit Focal(const float* parameters) : curve{parameters[0]} {}
  MACADAM_HD Real value(const PixelScores<Real>& scores) const {
    return curve.value(scores.log_probability());
  }
  MACADAM_HD Real slope(const PixelScores<Real>& scores) const {
    return curve.slope(scores.log_probability());
  }
};

/// Cross-entropy of the hardest pixels: those whose label is less probable than the threshold, or,
/// where they are fewer than that share of the labelled ones, so many (online hard example mining,
/// as BiSeNet has it: Yu et al., ECCV 2018). How many that are, is rounded up to whole bins of
/// hardness.
template <typename Real>
struct OhemCrossEntropy : PixelTerm<Real> {
  static constexpr LossTermInfo kInfo{
      "ohem",
      "cross-entropy of the hardest pixels",
      {{"ohem_threshold", "ohem keeps the pixels whose label is less probable", 0.7, 0, 1},
       {"ohem_min_kept", "share of the labelled pixels that ohem keeps at least", 0.0625, 0, 1}}};

  float threshold, min_kept;

  MACADAM_HD explicit OhemCrossEntropy(const float* parameters)
      : threshold(parameters[0]), min_kept(parameters[1]) {}
  MACADAM_HD Real value(const PixelScores<Real>& scores) const {
    return scores.log_sum_exp - scores.label_score;
  }
  MACADAM_HD Real slope(const PixelScores<Real>&) const { return 1; }

  static constexpr PixelWeighting kWeighting = PixelWeighting::hardest;
  MACADAM_HD Real weight(const PixelPlace& place) const { return place.hard ? 1 : 0; }
};

/// Cross-entropy near the edges between labels alone.
template <typename Real>
struct EdgeCrossEntropy : PixelTerm<Real> {
  static constexpr LossTermInfo kInfo{
      "edge",
      "cross-entropy near the edges between labels",
      {{"edge_width", "pixels from an edge, to either side, that edge counts in", 3, 1, 64, true}}};

  float pixels;

  MACADAM_HD explicit EdgeCrossEntropy(const float* parameters) : pixels(parameters[0]) {}
  MACADAM_HD Real value(const PixelScores<Real>& scores) const {
    return scores.log_sum_exp - scores.label_score;
  }
  MACADAM_HD Real slope(const PixelScores<Real>&) const { return 1; }

  static constexpr PixelWeighting kWeighting = PixelWeighting::edges;
  MACADAM_HD int width() const { return static_cast<int>(pixels); }
  MACADAM_HD Real weight(const PixelPlace& place) const { return place.near_edge ? 1 : 0; }
};

/// Cross-entropy that weighs pixels near the edges between labels more.
template <typename Real>
struct BoundaryCrossEntropy : PixelTerm<Real> {
  static constexpr LossTermInfo kInfo{
      "boundary",
      "cross-entropy with more weight near the edges between labels",
      {{"boundary_width", "pixels from an edge, to either side, that boundary weighs more", 3, 1,
        64, true},
       {"boundary_weight", "what is added there to the weight of 1 in boundary", 4, 0, 1000}}};

  float pixels;
  Real added;

  MACADAM_HD explicit BoundaryCrossEntropy(const float* parameters)
      : pixels(parameters[0]), added(parameters[1]) {}
  MACADAM_HD Real value(const PixelScores<Real>& scores) const {
    return scores.log_sum_exp - scores.label_score;
  }
  MACADAM_HD Real slope(const PixelScores<Real>&) const { return 1; }

  static constexpr PixelWeighting kWeighting = PixelWeighting::edges;
  MACADAM_HD int width() const { return static_cast<int>(pixels); }
  MACADAM_HD Real weight(const PixelPlace& place) const {
    return place.near_edge ? 1 + added : Real{1};
  }
};

/// Focal loss of every class for itself, p the sigmoid of its score, or one less that where it is
/// not the label, in the mean over classes: segmentation_models.pytorch's FocalLoss.
template <typename Real>
struct FocalOneVsRest : PixelTerm<Real> {
  static constexpr LossTermInfo kInfo{
      "focal_ovr",
      "focal loss of one class against the rest, over sigmoids",
      {{"focal_ovr_gamma", "how strongly scores that are right already are discounted in focal_ovr",
        2, 0, 10}}};

  FocalCurve<Real> curve;

  MACADAM_HD explicit FocalOneVsRest(const float* parameters) : curve{parameters[0]} {}
  MACADAM_HD Real value(const PixelScores<Real>& scores) const {
    return scores.class_sum / static_cast<Real>(scores.classes);
  }
  MACADAM_HD Real slope(const PixelScores<Real>&) const { return 1; }

  static constexpr bool kOfClasses = true;
  MACADAM_HD Real class_value(Real score, bool is_label) const {
    return curve.value(log_sigmoid(is_label ? score : -score));
  }
  MACADAM_HD Real class_slope(Real score, bool is_label) const {
    const Real log_p = log_sigmoid(is_label ? score : -score);
    const Real slope = curve.slope(log_p) * (1 - exp_inline(log_p));
    return is_label ? -slope : slope;
  }

 private:
  MACADAM_HD static Real log_sigmoid(Real x) {
    const Real rest = log_inline(1 + exp_inline(x < 0 ? x : -x));
    return (x < 0 ? x : Real{0}) - rest;
  }
};

/// Sums of one class over all labelled pixels: of its probability where it is the label, of its
/// probability, and of the pixels whose label it is.
struct RegionSums {
  double intersection, predicted, labeled;
};

/// A region term's loss of one class, and the derivative of that by the probability of a pixel:
/// `hit` where the pixel's label is this class, `miss` where it is another.
struct RegionLoss {
  double loss = 0, hit = 0, miss = 0;
};

// A region term's value is the mean over classes of a function of their sums. Where these are all
// empty and so is the smoothing, the loss is 0 and has no gradient.

/// 1 - (2 I + s) / (P + G + s) (Milletari, Navab, Ahmadi, "V-Net", 3DV 2016, with sums in place of
/// squares).
struct Dice {
  static constexpr LossTermInfo kInfo{
      "dice",
      "soft Dice",
      {{"dice_smooth", "is added to Dice's numerator and denominator", 1, 0, 1e6}}};

  double smooth;

  MACADAM_HD explicit Dice(const float* parameters) : smooth(static_cast<double>(parameters[0])) {}
  MACADAM_HD RegionLoss operator()(const RegionSums& sums) const {
    const double denominator = sums.predicted + sums.labeled + smooth;
    if (denominator <= 0) return {};
    const double ratio = (2 * sums.intersection + smooth) / denominator;
    const double miss = ratio / denominator;
    return {1 - ratio, miss - 2 / denominator, miss};
  }
};

/// 1 - (I + s) / (P + G - I + s): one less the soft intersection over union.
struct Jaccard {
  static constexpr LossTermInfo kInfo{
      "jaccard",
      "soft intersection over union",
      {{"jaccard_smooth", "is added to intersection and union in jaccard", 1, 0, 1e6}}};

  double smooth;

  MACADAM_HD explicit Jaccard(const float* parameters)
      : smooth(static_cast<double>(parameters[0])) {}
  MACADAM_HD RegionLoss operator()(const RegionSums& sums) const {
    const double all = sums.predicted + sums.labeled - sums.intersection + smooth;
    if (all <= 0) return {};
    const double ratio = (sums.intersection + smooth) / all;
    return {1 - ratio, -1 / all, ratio / all};
  }
};

/// 1 - (I + s) / (I + alpha FP + beta FN + s), FP = P - I, FN = G - I (Salehi, Erdogmus, Gholipour,
/// "Tversky loss function for image segmentation", MLMI 2017). With alpha = beta = 0.5 it is Dice
/// whose smoothing is 2 s, with 1 and 1 Jaccard.
struct Tversky {
  static constexpr LossTermInfo kInfo{
      "tversky",
      "Tversky's index, which weighs false positives and false negatives",
      {{"tversky_alpha", "weight of false positives in tversky", 0.3, 0.01, 100},
       {"tversky_beta", "weight of false negatives in tversky", 0.7, 0.01, 100},
       {"tversky_smooth", "is added to tversky's numerator and denominator", 1, 0, 1e6}}};

  double alpha, beta, smooth;

  MACADAM_HD explicit Tversky(const float* parameters)
      : alpha(static_cast<double>(parameters[0])),
        beta(static_cast<double>(parameters[1])),
        smooth(static_cast<double>(parameters[2])) {}
  MACADAM_HD RegionLoss operator()(const RegionSums& sums) const {
    const double denominator = sums.intersection + alpha * (sums.predicted - sums.intersection) +
                               beta * (sums.labeled - sums.intersection) + smooth;
    if (denominator <= 0) return {};
    const double ratio = (sums.intersection + smooth) / denominator;
    return {1 - ratio, (ratio * (1 - beta) - 1) / denominator, ratio * alpha / denominator};
  }
};

/// Numbers of pixels: those whose label is a class, and those of another.
struct ErrorCounts {
  double label = 0, other = 0;
};

/// The derivative of a rank term's loss of one class by the error |[label = c] - p_c| of a pixel.
struct RankSlopes {
  double label = 0, other = 0;
};

// A rank term's value is the mean over the classes that occur of a sum over pixels: of their errors
// times slopes that depend on how many pixels have a larger one. Its slopes are those of pixels
// with equal errors (one pixel, or a bin of them), `above` those with larger ones; `labeled`, more
// than 0, counts all of the class.

/// The convex extension of 1 - intersection / union from sets of wrong pixels to errors (Berman,
/// Triki, Blaschko, "The Lovász-Softmax loss", CVPR 2018, "present" classes of the whole batch):
/// what a pixel adds when the union and what is left of the intersection are those of the pixels
/// above it. Of equals, the mean of both orders: those of the class first, and last.
struct Lovasz {
  static constexpr LossTermInfo kInfo{
      "lovasz", "Lovasz-softmax: intersection over union by the order of the errors"};

  MACADAM_HD explicit Lovasz(const float*) {}
  MACADAM_HD RankSlopes operator()(double labeled, const ErrorCounts& above,
                                   const ErrorCounts& here) const {
    const double before = labeled + above.other, after = before + here.other;  // unions
    const double intersection = labeled - above.label - 0.5 * here.label;
    return {0.5 / before + 0.5 / after, intersection / (before * after)};
  }
};

template <typename... Terms>
struct LossTerms {
  static constexpr int kCount = sizeof...(Terms);
  static constexpr LossTermInfo kInfos[] = {Terms::kInfo...};
};

/// Every term there is. New ones go to the end of their list: a loss is written in this order.
template <typename Real>
using PixelTerms =
    LossTerms<CrossEntropy<Real>, Focal<Real>, OhemCrossEntropy<Real>, EdgeCrossEntropy<Real>,
              BoundaryCrossEntropy<Real>, FocalOneVsRest<Real>>;
using RegionTerms = LossTerms<Dice, Jaccard, Tversky>;
using RankTerms = LossTerms<Lovasz>;

/// Calls f(Term) for the one of `Terms`, the first of which is number `kind`, that `term` is.
template <typename... Terms, typename F>
MACADAM_HD void visit_loss_term(LossTerms<Terms...>, int kind, const LossTerm& term, const F& f) {
  (void)((term.kind == kind++ && (f(Terms(term.parameters)), true)) || ...);
}

/// Calls f(term) with the pixel term that `term` is.
template <typename Real, typename F>
MACADAM_HD void visit_pixel_term(const LossTerm& term, const F& f) {
  visit_loss_term(PixelTerms<Real>(), 0, term, f);
}

/// The same for a region term.
template <typename F>
MACADAM_HD void visit_region_term(const LossTerm& term, const F& f) {
  visit_loss_term(RegionTerms(), PixelTerms<float>::kCount, term, f);
}

/// The same for a rank term.
template <typename F>
MACADAM_HD void visit_rank_term(const LossTerm& term, const F& f) {
  visit_loss_term(RankTerms(), PixelTerms<float>::kCount + RegionTerms::kCount, term, f);
}

}  // namespace scalar
}  // namespace macadam
