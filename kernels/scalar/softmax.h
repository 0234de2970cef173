#pragma once
// Softmax of one pixel. Scores are read through a callable z(c), so that they may lie in registers,
// in memory of any storage type, or in a slice.

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

}  // namespace macadam::scalar
