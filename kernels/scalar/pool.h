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

/// The input pixels of window `o` of a grid of so many windows.
MACADAM_HD Range grid_window(int o, int grid, int in) {
  return {o * in / grid, ((o + 1) * in + grid - 1) / grid};
}

/// The windows of a grid that cover input pixel `i`.
MACADAM_HD Range grid_readers(int i, int grid, int in) { return grid_window(i, in, grid); }

/// By how many pixels along one axis an average is divided: those of output `o`'s window inside the
/// image, or with `count_padding` inside the image and its padding, `padding` before and `after`
/// behind it.
MACADAM_HD int pool_count(int o, int kernel, int stride, int padding, int after, int in,
                          bool count_padding) {
  const Range inside = pool_window(o, kernel, stride, padding, in);
  if (!count_padding) return inside.end - inside.begin;
  const int first = o * stride - padding;
  const int last = first + kernel;
  return (last < in + after ? last : in + after) - first;
}

/// The outputs whose windows cover input pixel `i`.
MACADAM_HD Range pool_readers(int i, int kernel, int stride, int padding, int out) {
  const int reach = i + padding;
  const int begin = reach < kernel ? 0 : (reach - kernel) / stride + 1;
  const int end = reach / stride + 1;
  return {begin, end < out ? end : out};
}

}  // namespace macadam::scalar
