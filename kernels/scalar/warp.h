#pragma once
// Where the pixels of a warped image come from. Positions are rounded to 1/32 pixel and mixed in
// whole numbers, as OpenCV's remap does; compiled without contraction to fused multiply-adds, host
// and device agree on every bit.

#include "kernels/augment_program.h"
#include "kernels/scalar/fused.h"
#include "kernels/scalar/half.h"
#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

struct Point {
  float x, y;
};

/// `i` mirrored at the edge pixels into [0, n - 1].
MACADAM_HD int reflect_index(int i, int n) {
  const int last = n - 1, period = 2 * last;
  if (last == 0) return 0;
  i = i < 0 ? -i : i;
  i = i > period ? i % period : i;
  return i > last ? period - i : i;
}

/// The same of a position; what is no position below 2^24 leads to 0.
MACADAM_HD float reflect_position(float v, int n) {
  const auto last = static_cast<float>(n - 1);
  if (n == 1) return 0.0f;
  const float period = 2.0f * last;
  float a = v < 0.0f ? -v : v;
  a = a < 16777216.0f ? a : 0.0f;
  a = a - static_cast<float>(static_cast<int>(a / period)) * period;
  a = a > last ? period - a : a;
  return a > 0.0f ? a : 0.0f;
}

/// One axis of a grid: see CoordinateMap::Kind::grid. Requires 0 <= v <= extent - 1.
MACADAM_HD float grid_position(float v, int step, int segments, const float* ends, int extent) {
  // The half keeps the quotient of floats on the right side of whole numbers.
  const float pixel = static_cast<float>(static_cast<int>(v)) + 0.5f;
  int i = static_cast<int>(pixel / static_cast<float>(step));
  i = i < segments - 1 ? i : segments - 1;
  const int begin = i * step;
  const int pixels = i == segments - 1 ? extent - begin : step;
  // The segment's ends belong to its first and last pixel (numpy.linspace).
  const float from_begin = pixels > 1 ? v - static_cast<float>(begin) : 0.0f;
  float t = from_begin / static_cast<float>(pixels > 1 ? pixels - 1 : 1);
  t = t < 1.0f ? t : 1.0f;
  return ends[i] + t * (ends[i + 1] - ends[i]);
}

/// Source: OpenCV, initUndistortRectifyMap with the distortion (k, k, 0, 0) and its default new
/// camera, whose principal point is the middle of the image.
MACADAM_HD Point radial_position(const CoordinateMap& map, Point p) {
  const float k = map.value[0], center_x = map.value[1], center_y = map.value[2];
  const float width = map.value[3], height = map.value[4];
  const float x = (p.x - (width - 1.0f) * 0.5f) / width;
  const float y = (p.y - (height - 1.0f) * 0.5f) / height;
  const float r2 = x * x + y * y;
  const float factor = 1.0f + (k + k * r2) * r2;
  return {x * factor * width + center_x, y * factor * height + center_y};
}

/// Bilinear between the nodes of displacements (dx, dy).
MACADAM_HD Point field_position(const CoordinateMap& map, const float* nodes, Point p) {
  const auto nodes_x = static_cast<int>(map.value[1]), nodes_y = static_cast<int>(map.value[2]);
  const float u = p.x * map.value[0], v = p.y * map.value[0];
  const int i = static_cast<int>(u) < nodes_x - 2 ? static_cast<int>(u) : nodes_x - 2;
  const int j = static_cast<int>(v) < nodes_y - 2 ? static_cast<int>(v) : nodes_y - 2;
  const float a = u - static_cast<float>(i), b = v - static_cast<float>(j);
  const int k = 2 * (j * nodes_x + i), l = k + 2 * nodes_x;  // nodes above and below
  const float dx0 = nodes[k] + a * (nodes[k + 2] - nodes[k]);
  const float dy0 = nodes[k + 1] + a * (nodes[k + 3] - nodes[k + 1]);
  const float dx1 = nodes[l] + a * (nodes[l + 2] - nodes[l]);
  const float dy1 = nodes[l + 1] + a * (nodes[l + 3] - nodes[l + 1]);
  return {p.x + (dx0 + b * (dx1 - dx0)), p.y + (dy0 + b * (dy1 - dy0))};
}

/// `program`: where the map's data is counted from. Requires a position within the image.
MACADAM_HD Point map_position(const CoordinateMap& map, const std::byte* program, Point p,
                              int height, int width) {
  const auto* data = reinterpret_cast<const float*>(program + map.data);
  switch (map.kind) {
    case CoordinateMap::Kind::affine:
      return {fused(map.value[0], p.x, fused(map.value[1], p.y, map.value[2])),
              fused(map.value[3], p.x, fused(map.value[4], p.y, map.value[5]))};
    case CoordinateMap::Kind::grid: {
      const auto step_x = static_cast<int>(map.value[0]),
                 segments_x = static_cast<int>(map.value[1]);
      const auto step_y = static_cast<int>(map.value[2]),
                 segments_y = static_cast<int>(map.value[3]);
      return {grid_position(p.x, step_x, segments_x, data, width),
              grid_position(p.y, step_y, segments_y, data + segments_x + 1, height)};
    }
    case CoordinateMap::Kind::radial: return radial_position(map, p);
    case CoordinateMap::Kind::field: return field_position(map, data, p);
  }
  return p;
}

/// A position in units of 1/32 pixel, within the image; or outside, where the fill is.
struct Source {
  int x, y;
  bool inside;
};

constexpr int kSubpixelBits = 5;
constexpr int kSubpixels = 1 << kSubpixelBits;

/// A position in units of 1/32 pixel, ties to even. Requires 0 <= v < 2^18.
MACADAM_HD int subpixels(float v) {
  // The sum with 2^23 has no room for a fraction; its lowest bits are the number.
  const float sum = fused(v, static_cast<float>(kSubpixels), 8388608.0f);
  return static_cast<int>(bits_of_float(sum) - bits_of_float(8388608.0f));
}

/// Whether a position lies on the image whose pixels are squares.
MACADAM_HD bool inside(float v, int n) { return v >= -0.5f && v < static_cast<float>(n) - 0.5f; }

MACADAM_HD float clamp_position(float v, int n) {
  const auto last = static_cast<float>(n - 1);
  return v > 0.0f ? (v < last ? v : last) : 0.0f;
}

/// Takes the output pixel (y, x) through all the maps of a program.
MACADAM_HD Source source_of(const AugmentHeader& header, const std::byte* program, int y, int x,
                            int height, int width) {
  Point p{static_cast<float>(x), static_cast<float>(y)};
  bool within = true;
  for (int i = 0; i < header.maps; ++i) {
    const CoordinateMap& map = header.map[i];
    p = map_position(map, program, p, height, width);
    if (map.border == Border::reflect) {
      p = {reflect_position(p.x, width), reflect_position(p.y, height)};
    } else {
      within = within && inside(p.x, width) && inside(p.y, height);
      p = {clamp_position(p.x, width), clamp_position(p.y, height)};
    }
  }
  return {subpixels(p.x), subpixels(p.y), within};
}

/// The pixel nearest to a coordinate of a Source.
MACADAM_HD int nearest_pixel(int coordinate) {
  return (coordinate + kSubpixels / 2) >> kSubpixelBits;
}

/// The value `fx`, `fy` 32nds of the way between four pixels: rows a and b, columns 0 and 1.
MACADAM_HD int mix_bytes(int a0, int a1, int b0, int b1, int fx, int fy) {
  const int upper = a0 * (kSubpixels - fx) + a1 * fx, lower = b0 * (kSubpixels - fx) + b1 * fx;
  constexpr int kHalf = 1 << (2 * kSubpixelBits - 1);
  return (upper * (kSubpixels - fy) + lower * fy + kHalf) >> (2 * kSubpixelBits);
}

}  // namespace macadam::scalar
