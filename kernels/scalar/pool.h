#pragma once
// Pooling windows along one axis.

#include "kernels/scalar/host_device.h"
#include "kernels/scalar/range.h"

namespace macadam::scalar {

/// The input pixels that output `o`'s window covers inside the image. Window position k is pixel
/// o * stride - padding + k.
MACADAM_HD Range pool_window(int o, int kernel, int stride, int padding, int in) {
  const int first = o * stride - padding;
  const int last = first + kernel;
  return {first < 0 ? 0 : first, last < in ? last : in};
}

/// The outputs whose windows cover input pixel `i`.
MACADAM_HD Range pool_readers(int i, int kernel, int stride, int padding, int out) {
  const int reach = i + padding;
  const int begin = reach < kernel ? 0 : (reach - kernel) / stride + 1;
  const int end = reach / stride + 1;
  return {begin, end < out ? end : out};
}

}  // namespace macadam::scalar
