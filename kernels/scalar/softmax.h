#pragma once
// Softmax and cross-entropy of one pixel. Scores are read through a callable z(c), so that they
// may lie in registers, in memory of any storage type, or in a slice.

#include <cmath>

#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

/// exp(x) for x <= 0, where the device's two-instruction version is accurate to a few ulp of 1.
MACADAM_HD float exp_below_zero(float x) {
#if defined(__CUDA_ARCH__)
  return __expf(x);
#else
  return std::exp(x);
#endif
}

/// exp(z - max) / sum is the softmax.
struct SoftmaxStats {
  float max;
  float sum;  // of exp(z - max), at least 1

  MACADAM_HD float log_sum_exp() const { return max + std::log(sum); }
};

/// visit(c, exp(z(c) - max)) is called for every class.
template <typename Scores, typename Visit>
MACADAM_HD SoftmaxStats softmax_stats(const Scores& z, int classes, const Visit& visit) {
  float max = z(0);
  for (int c = 1; c < classes; ++c) max = z(c) > max ? z(c) : max;
  float sum = 0.0f;
  for (int c = 0; c < classes; ++c) {
    const float e = exp_below_zero(z(c) - max);
    sum += e;
    visit(c, e);
  }
  return {max, sum};
}

template <typename Scores>
MACADAM_HD SoftmaxStats softmax_stats(const Scores& z, int classes) {
  return softmax_stats(z, classes, [](int, float) {});
}

/// -((1 - s) * log p[label] + s / C * sum_c log p[c]) from the scores' log-sum-exp, the label's
/// score and the sum of all scores; s is the label smoothing.
MACADAM_HD float cross_entropy(float log_sum_exp, float label_score, float score_sum,
                               float smoothing, int classes) {
  return log_sum_exp - (1.0f - smoothing) * label_score -
         smoothing / static_cast<float>(classes) * score_sum;
}

/// The derivative of cross_entropy by one class's score, whose probability is p.
MACADAM_HD float cross_entropy_gradient(float p, bool is_label, float smoothing, int classes) {
  return p - (is_label ? 1.0f - smoothing : 0.0f) - smoothing / static_cast<float>(classes);
}

}  // namespace macadam::scalar
