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

/// One axis of a bilinear resize: output i lies at (slope() * i + offset()) / unit() of the input,
/// clamped to [0, in - 1]. That is (i + 0.5) * in / out - 0.5, or with `corners` what leaves the
/// first and the last pixel in place, i * (in - 1) / (out - 1): PyTorch's mode "bilinear" with
/// align_corners = false and true.
struct LinearAxis {
  int in, out;
  bool corners = false;

  MACADAM_HD int slope() const { return corners ? in - 1 : 2 * in; }
  MACADAM_HD int offset() const { return corners ? 0 : in - out; }
  MACADAM_HD int unit() const { return !corners ? 2 * out : out > 1 ? out - 1 : 1; }
};

/// The tap of output `i`. `by_unit(n)` is n / axis.unit().
template <typename Division>
MACADAM_HD LinearTap linear_tap(int i, const LinearAxis& axis, const Division& by_unit) {
  const int numerator = axis.slope() * i + axis.offset();
  if (numerator <= 0) return {0, axis.in > 1 ? 1 : 0, 0.0f};
  const int first = by_unit(numerator);
  if (first >= axis.in - 1) return {axis.in - 1, axis.in - 1, 0.0f};
  const int unit = axis.unit(), remainder = numerator - first * unit;
  return {first, first + 1, static_cast<float>(remainder) / static_cast<float>(unit)};
}

MACADAM_HD LinearTap linear_tap(int i, const LinearAxis& axis) {
  return linear_tap(i, axis, [unit = axis.unit()](int n) { return n / unit; });
}

/// The outputs whose tap may give pixel `s` a weight other than zero; empty when it is skipped.
MACADAM_HD Range linear_readers(int s, const LinearAxis& axis) {
  const int slope = axis.slope(), unit = axis.unit();
  const int low = unit * (s - 1) - axis.offset();
  const int begin = s == 0 || low < 0 ? 0 : low / slope + 1;
  if (s == axis.in - 1) return {begin, axis.out};
  const int high = unit * (s + 1) - axis.offset();
  const int end = high <= 0 ? 0 : (high + slope - 1) / slope;
  return {begin, end < axis.out ? end : axis.out};
}

/// The weight of pixel `s` in output `i`: 1 less the distance to the tap's position, at least 0.
MACADAM_HD float linear_weight(int i, int s, const LinearAxis& axis) {
  const int unit = axis.unit();
  const int numerator = axis.slope() * i + axis.offset();
  const int farthest = unit * (axis.in - 1);
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
