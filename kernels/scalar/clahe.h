#pragma once
// Contrast-limited adaptive histogram equalisation of the L of CIE Lab, as OpenCV's createCLAHE
// and cvtColor do it for bytes. Source: OpenCV, modules imgproc, clahe.cpp and color_lab.cpp.

#include <cstdint>

#include "kernels/scalar/exp_log.h"
#include "kernels/scalar/host_device.h"
#include "kernels/scalar/pixel_ops.h"

namespace macadam::scalar {

/// x^exponent for normal x > 0.
MACADAM_HD float power(float x, float exponent) { return exp_inline(exponent * log_inline(x)); }

/// Linear light of an sRGB byte, in units of 1/2040, rounded.
MACADAM_HD int linear_light(uint8_t byte) {
  const float v = static_cast<float>(byte) * (1.0f / 255.0f);
  const float linear =
      v <= 0.04045f ? v * (1.0f / 12.92f) : power((v + 0.055f) * (1.0f / 1.055f), 2.4f);
  return static_cast<int>(linear * 2040.0f + 0.5f);
}

/// The f of CIE Lab with 15 bits of fraction, of an argument in units of 1/2040.
MACADAM_HD int lab_root(int argument) {
  const float x = static_cast<float>(argument) * (1.0f / 2040.0f);
  const float f = x < 0.008856f ? x * 7.787f + 16.0f / 116.0f : power(x, 1.0f / 3.0f);
  return static_cast<int>(f * 32768.0f + 0.5f);
}

/// One row of the matrix from linear sRGB to XYZ (D65, the white point divided out), in 1/4096.
MACADAM_HD int weigh_light(int r, int g, int b, int weight_r, int weight_g, int weight_b) {
  return (r * weight_r + g * weight_g + b * weight_b + 2048) >> 12;
}

/// The argument of f(X), f(Y) or f(Z) for linear light.
MACADAM_HD int weigh_x(int r, int g, int b) { return weigh_light(r, g, b, 1777, 1541, 778); }
MACADAM_HD int weigh_y(int r, int g, int b) { return weigh_light(r, g, b, 871, 2929, 296); }
MACADAM_HD int weigh_z(int r, int g, int b) { return weigh_light(r, g, b, 73, 448, 3575); }

/// L of 8-bit Lab, from f(Y).
MACADAM_HD int lab_lightness(int root_y) {
  constexpr int kScale = (116 * 255 + 50) / 100, kShift = -((16 * 255 * (1 << 15) + 50) / 100);
  return clip_to_byte((kScale * root_y + kShift + (1 << 14)) >> 15);
}

/// L of 8-bit CIE Lab.
MACADAM_HD int lightness(Rgb pixel) {
  const int r = linear_light(pixel.r), g = linear_light(pixel.g), b = linear_light(pixel.b);
  return lab_lightness(lab_root(weigh_y(r, g, b)));
}

/// The inverse of lab_root, in floats.
MACADAM_HD float lab_cube(float f) {
  return f <= 6.0f / 29.0f ? (f - 16.0f / 116.0f) * (1.0f / 7.787f) : f * f * f;
}

/// The sRGB byte of linear light, clipped.
MACADAM_HD uint8_t srgb_byte(float linear) {
  const float v = linear < 1.0f ? linear : 1.0f;
  const float encoded =
      v <= 0.0031308f ? (v > 0.0f ? v * 12.92f : 0.0f) : 1.055f * power(v, 1.0f / 2.4f) - 0.055f;
  return round_to_byte(encoded * 255.0f);
}

/// 8-bit CIE Lab.
struct Lab {
  int l, a, b;
};

/// From f(X), f(Y) and f(Z).
MACADAM_HD Lab lab_of_roots(int root_x, int root_y, int root_z) {
  constexpr int kHalf = 1 << 14;
  return {lab_lightness(root_y),
          clip_to_byte((500 * (root_x - root_y) + (128 << 15) + kHalf) >> 15),
          clip_to_byte((200 * (root_y - root_z) + (128 << 15) + kHalf) >> 15)};
}

MACADAM_HD Rgb rgb_of_lab(Lab lab) {
  const float l = static_cast<float>(lab.l) * (100.0f / 255.0f);
  const float f =
      l <= 8.0f ? 7.787f * (l / 903.3f) + 16.0f / 116.0f : (l + 16.0f) * (1.0f / 116.0f);
  const float y = l <= 8.0f ? l / 903.3f : f * f * f;
  const float x = lab_cube(f + static_cast<float>(lab.a - 128) * (1.0f / 500.0f));
  const float z = lab_cube(f - static_cast<float>(lab.b - 128) * (1.0f / 200.0f));
  return {srgb_byte(3.079933f * x - 1.537150f * y - 0.542782f * z),
          srgb_byte(-0.921235f * x + 1.875992f * y + 0.045244f * z),
          srgb_byte(0.052891f * x - 0.204043f * y + 1.151152f * z)};
}

/// The colour with another L; a and b stay the bytes that they are.
MACADAM_HD Rgb with_lightness(Rgb pixel, int new_l) {
  const int r = linear_light(pixel.r), g = linear_light(pixel.g), b = linear_light(pixel.b);
  const Lab lab = lab_of_roots(lab_root(weigh_x(r, g, b)), lab_root(weigh_y(r, g, b)),
                               lab_root(weigh_z(r, g, b)));
  return rgb_of_lab({new_l, lab.a, lab.b});
}

/// How an image is cut into tiles. Where a tile count does not divide its axis, both axes are
/// continued by mirror images up to the next multiple.
struct ClaheTiles {
  int tiles_y, tiles_x, tile_height, tile_width;
};

MACADAM_HD ClaheTiles clahe_tiles(int height, int width, int tiles_y, int tiles_x) {
  const bool whole = height % tiles_y == 0 && width % tiles_x == 0;
  const int more = whole ? 0 : 1;
  return {tiles_y, tiles_x, height / tiles_y + more, width / tiles_x + more};
}

/// The most pixels that a value may count; none where 0.
MACADAM_HD int clahe_clip(int pixels, float clip_limit) {
  if (!(clip_limit > 0.0f)) return 0;
  const auto clip =
      static_cast<int>(static_cast<double>(clip_limit) * static_cast<double>(pixels) / 256.0);
  return clip > 1 ? clip : 1;
}

/// Value i's share of the `excess` pixels that were clipped.
MACADAM_HD int clahe_share(int i, int excess) {
  const int batch = excess / 256, rest = excess - 256 * batch;
  if (rest == 0) return batch;
  const int step = 256 / rest > 1 ? 256 / rest : 1;
  return batch + (i % step == 0 && i / step < rest ? 1 : 0);
}

/// The entry of a tile's table for a value up to which `count` of its `pixels` lie, after clipping.
MACADAM_HD uint8_t clahe_entry(int count, int pixels) {
  return round_to_byte(static_cast<float>(count) * (255.0f / static_cast<float>(pixels)));
}

/// The table of a tile whose values occur histogram[0..255] times.
MACADAM_HD void clahe_table(const int* histogram, int pixels, float clip_limit, uint8_t* table) {
  const int clip = clahe_clip(pixels, clip_limit);
  int excess = 0;
  for (int i = 0; i < 256; ++i) {
    excess += clip > 0 && histogram[i] > clip ? histogram[i] - clip : 0;
  }
  int count = 0;
  for (int i = 0; i < 256; ++i) {
    count += clip > 0 && histogram[i] > clip ? clip : histogram[i];
    count += clahe_share(i, excess);
    table[i] = clahe_entry(count, pixels);
  }
}

/// The tiles before and after a position along an axis, and how far it lies towards the latter.
struct ClaheNeighbors {
  int first, second;
  float t;
};

MACADAM_HD ClaheNeighbors clahe_neighbors(int position, int tile, int tiles) {
  const float v = static_cast<float>(position) * (1.0f / static_cast<float>(tile)) - 0.5f;
  const int before = v < 0.0f ? -1 : static_cast<int>(v);
  return {before > 0 ? before : 0, before + 1 < tiles ? before + 1 : tiles - 1,
          v - static_cast<float>(before)};
}

/// Between the entries of the tiles above (a) and below (b), before and after.
MACADAM_HD uint8_t clahe_mix(int a0, int a1, int b0, int b1, float across, float down) {
  const float upper = static_cast<float>(a0) * (1.0f - across) + static_cast<float>(a1) * across;
  const float lower = static_cast<float>(b0) * (1.0f - across) + static_cast<float>(b1) * across;
  return round_to_byte(upper * (1.0f - down) + lower * down);
}

/// What becomes of `value` at pixel (y, x). tables: 256 bytes a tile, the tiles row by row.
MACADAM_HD uint8_t clahe_interpolate(const uint8_t* tables, const ClaheTiles& tiles, int y, int x,
                                     int value) {
  const ClaheNeighbors v = clahe_neighbors(y, tiles.tile_height, tiles.tiles_y);
  const ClaheNeighbors h = clahe_neighbors(x, tiles.tile_width, tiles.tiles_x);
  const uint8_t* a = tables + 256 * v.first * tiles.tiles_x + value;
  const uint8_t* b = tables + 256 * v.second * tiles.tiles_x + value;
  return clahe_mix(a[256 * h.first], a[256 * h.second], b[256 * h.first], b[256 * h.second], h.t,
                   v.t);
}

}  // namespace macadam::scalar
