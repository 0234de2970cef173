#pragma once
// Which pixels a resize reads, with what weight, along one axis; and, for the gather form of the
// backward pass, which outputs read a given pixel. Exact integer arithmetic, so that forward and
// backward, host and device always agree. Extents are at most 32767.

#include "kernels/scalar/host_device.h"
#include "kernels/scalar/range.h"

namespace macadam::scalar {

/// The input that output `i` copies: floor(i * in / out), PyTorch's mode "nearest". `by_out(n)` is
/// n / out.
template <typename Division>
MACADAM_HD int nearest_source(int i, int in, const Division& by_out) {
  return by_out(i * in);
}

MACADAM_HD int nearest_source(int i, int in, int out) {
  return nearest_source(i, in, [out](int n) { return n / out; });
}

/// The outputs whose nearest_source is `s`.
MACADAM_HD Range nearest_readers(int s, int in, int out) {
  return {(s * out + in - 1) / in, ((s + 1) * out + in - 1) / in};
}

/// Output = (1 - weight) * x[first] + weight * x[second].
struct LinearTap {
  int first, second;
  float weight;
};

/// The tap of output `i`: position (i + 0.5) * in / out - 0.5, clamped to [0, in - 1]; PyTorch's
/// mode "bilinear" with align_corners = false. The position is numerator / (2 * out), and
/// `by_unit(n)` is n / (2 * out).
template <typename Division>
MACADAM_HD LinearTap linear_tap(int i, int in, int out, const Division& by_unit) {
  const int numerator = (2 * i + 1) * in - out;
  if (numerator <= 0) return {0, in > 1 ? 1 : 0, 0.0f};
  const int first = by_unit(numerator);
  if (first >= in - 1) return {in - 1, in - 1, 0.0f};
  const int remainder = numerator - first * 2 * out;
  return {first, first + 1, static_cast<float>(remainder) / static_cast<float>(2 * out)};
}

MACADAM_HD LinearTap linear_tap(int i, int in, int out) {
  return linear_tap(i, in, out, [out](int n) { return n / (2 * out); });
}

/// The outputs whose tap may give pixel `s` a weight other than zero; empty when it is skipped.
MACADAM_HD Range linear_readers(int s, int in, int out) {
  const int low = out * (2 * s - 1) - in;
  const int begin = s == 0 || low < 0 ? 0 : low / (2 * in) + 1;
  if (s == in - 1) return {begin, out};
  const int high = out * (2 * s + 3) - in;
  const int end = high <= 0 ? 0 : (high + 2 * in - 1) / (2 * in);
  return {begin, end < out ? end : out};
}

/// The weight of pixel `s` in output `i`: 1 less the distance to the tap's position, at least 0.
MACADAM_HD float linear_weight(int i, int s, int in, int out) {
  const int unit = 2 * out;
  const int numerator = (2 * i + 1) * in - out;
  const int farthest = unit * (in - 1);
  const int position = numerator < 0 ? 0 : numerator > farthest ? farthest : numerator;
  const int distance = position > unit * s ? position - unit * s : unit * s - position;
  return distance >= unit ? 0.0f : static_cast<float>(unit - distance) / static_cast<float>(unit);
}

/// The value between four pixels: rows a and b, columns 0 and 1.
MACADAM_HD float bilinear(float a0, float a1, float b0, float b1, float weight_x, float weight_y) {
  const float upper = (1.0f - weight_x) * a0 + weight_x * a1;
  const float lower = (1.0f - weight_x) * b0 + weight_x * b1;
  return (1.0f - weight_y) * upper + weight_y * lower;
}

}  // namespace macadam::scalar
