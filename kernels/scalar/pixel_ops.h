#pragma once
// What the pixel operations of an augmentation program do to one pixel of bytes. Compiled without
// contraction to fused multiply-adds, host and device agree on every bit. Colour spaces are
// OpenCV's 8-bit ones: H in 0..179 (half degrees), the others in 0..255.

#include <cstdint>

#include "kernels/scalar/fused.h"
#include "kernels/scalar/half.h"
#include "kernels/scalar/host_device.h"
#include "kernels/scalar/philox.h"

namespace macadam::scalar {

struct Rgb {
  uint8_t r, g, b;
};

/// To the nearest whole number, ties to even. Requires |v| < 2^22.
MACADAM_HD float round_to_even(float v) {
  constexpr float kShifter = 12582912.0f;  // 1.5 * 2^23: the sum has no room for a fraction
  return (v + kShifter) - kShifter;
}

/// Rounded to nearest, ties to even, clipped to 0..255. Requires |v| < 2^22.
MACADAM_HD uint8_t round_to_byte(float v) {
  const float low = v > 0.0f ? v : 0.0f;
  return static_cast<uint8_t>(static_cast<int>(round_to_even(low < 255.0f ? low : 255.0f)));
}

MACADAM_HD int clip_to_byte(int v) { return v < 0 ? 0 : (v < 255 ? v : 255); }

MACADAM_HD float min3(float a, float b, float c) {
  const float low = a < b ? a : b;
  return low < c ? low : c;
}

MACADAM_HD float max3(float a, float b, float c) {
  const float high = a > b ? a : b;
  return high > c ? high : c;
}

struct Color {
  float r, g, b;
};

/// The colour whose largest component is `high`, smallest `low`, and the one between falling
/// (`down`) or rising (`up`) with the hue, a position in [0, 6) on the hexagon of hues.
MACADAM_HD Color on_hexagon(int sector, float high, float low, float down, float up) {
  const float r = sector == 0 || sector == 5 ? high : (sector == 1 ? down : sector == 4 ? up : low);
  const float g = sector == 1 || sector == 2 ? high : (sector == 3 ? down : sector == 0 ? up : low);
  const float b = sector == 3 || sector == 4 ? high : (sector == 5 ? down : sector == 2 ? up : low);
  return {r, g, b};
}

/// Adds to H (modulo 180), S and V (clipped). Requires hue in [-180, 180].
/// Sources: OpenCV, cvtColor of 8-bit RGB to HSV in whole numbers and back in floats;
/// HueSaturationValue of Albumentations 1.3.1.
MACADAM_HD Rgb shift_hsv(Rgb pixel, int hue, int saturation, int value) {
  const int r = pixel.r, g = pixel.g, b = pixel.b;
  const int largest = r > g ? (r > b ? r : b) : (g > b ? g : b);
  const int smallest = r < g ? (r < b ? r : b) : (g < b ? g : b);
  const int range = largest - smallest;
  // Rounded quotients with 12 bits of fraction; no quotient here is close enough to a half for the
  // float division to round it to the wrong side.
  constexpr int kBits = 12, kHalf = 1 << (kBits - 1);
  const auto s_scale = static_cast<int>(
      largest > 0 ? static_cast<float>(255 << kBits) / static_cast<float>(largest) + 0.5f : 0.0f);
  const auto h_scale = static_cast<int>(
      range > 0 ? static_cast<float>(30 << kBits) / static_cast<float>(range) + 0.5f : 0.0f);
  const int offset = largest == r ? g - b : (largest == g ? b - r + 2 * range : r - g + 4 * range);
  int h = (offset * h_scale + kHalf) >> kBits;
  h = h < 0 ? h + 180 : h;
  const int s = clip_to_byte(((range * s_scale + kHalf) >> kBits) + saturation);
  const int v = clip_to_byte(largest + value);
  h += hue;
  h = h < 0 ? h + 180 : h;
  h = h >= 180 ? h - 180 : h;
  h = h >= 180 ? h - 180 : h;

  const float position = static_cast<float>(h) * (6.0f / 180.0f);
  const auto sector = static_cast<int>(position);
  const float t = position - static_cast<float>(sector);
  const float sf = static_cast<float>(s) * (1.0f / 255.0f);
  const float vf = static_cast<float>(v) * (1.0f / 255.0f);
  const Color c =
      on_hexagon(sector, vf, vf * (1.0f - sf), vf * (1.0f - sf * t), vf * (1.0f - sf * (1.0f - t)));
  return {round_to_byte(c.r * 255.0f), round_to_byte(c.g * 255.0f), round_to_byte(c.b * 255.0f)};
}

/// factor * pixel + (1 - factor) * its grey value.
/// Sources: OpenCV, cvtColor of 8-bit RGB to grey; ColorJitter of Albumentations 1.3.1.
MACADAM_HD Rgb scale_saturation(Rgb pixel, float factor) {
  constexpr int kBits = 15;
  const int gray =
      (9798 * pixel.r + 19235 * pixel.g + 3735 * pixel.b + (1 << (kBits - 1))) >> kBits;
  const float rest = static_cast<float>(gray) * (1.0f - factor);
  return {round_to_byte(static_cast<float>(pixel.r) * factor + rest),
          round_to_byte(static_cast<float>(pixel.g) * factor + rest),
          round_to_byte(static_cast<float>(pixel.b) * factor + rest)};
}

/// Halves the L of HLS, truncating it.
/// Sources: OpenCV, cvtColor of 8-bit RGB to HLS and back; RandomShadow of Albumentations 1.3.1.
MACADAM_HD Rgb halve_lightness(Rgb pixel) {
  const float r = static_cast<float>(pixel.r) * (1.0f / 255.0f);
  const float g = static_cast<float>(pixel.g) * (1.0f / 255.0f);
  const float b = static_cast<float>(pixel.b) * (1.0f / 255.0f);
  const float largest = max3(r, g, b), smallest = min3(r, g, b);
  const float range = largest - smallest, sum = largest + smallest;
  const float l = sum * 0.5f;
  float h = 0.0f, s = 0.0f;
  if (range > 0.0f) {
    s = range / (l < 0.5f ? sum : 2.0f - largest - smallest);
    const float scale = 60.0f / range;
    h = largest == r ? (g - b) * scale
                     : (largest == g ? (b - r) * scale + 120.0f : (r - g) * scale + 240.0f);
    h = h < 0.0f ? h + 360.0f : h;
  }
  const float h_byte = round_to_even(h * 0.5f);
  const auto halved = static_cast<int>(round_to_byte(l * 255.0f)) / 2;
  const float new_l = static_cast<float>(halved) * (1.0f / 255.0f);
  const float new_s = static_cast<float>(round_to_byte(s * 255.0f)) * (1.0f / 255.0f);

  const float high = new_l <= 0.5f ? new_l * (1.0f + new_s) : new_l + new_s - new_l * new_s;
  const float low = 2.0f * new_l - high;
  const float turned = h_byte * (6.0f / 180.0f);
  const float position = turned < 6.0f ? turned : turned - 6.0f;
  const auto sector = static_cast<int>(position);
  const float t = position - static_cast<float>(sector);
  const Color c =
      on_hexagon(sector, high, low, low + (high - low) * (1.0f - t), low + (high - low) * t);
  return {round_to_byte(c.r * 255.0f), round_to_byte(c.g * 255.0f), round_to_byte(c.b * 255.0f)};
}

struct Normals {
  float r, g, b;
};

/// Eight weights of eight signed bytes, in two words.
struct ByteWeights {
  uint32_t low, high;
};

constexpr ByteWeights byte_weights(int w0, int w1, int w2, int w3, int w4, int w5, int w6, int w7) {
  const auto word = [](int a, int b, int c, int d) {
    return (static_cast<uint32_t>(a) & 0xffu) | (static_cast<uint32_t>(b) & 0xffu) << 8 |
           (static_cast<uint32_t>(c) & 0xffu) << 16 | static_cast<uint32_t>(d) << 24;
  };
  return {word(w0, w1, w2, w3), word(w4, w5, w6, w7)};
}

/// sum + the four signed bytes of `a` times those of `b`.
MACADAM_HD int add_products(uint32_t a, uint32_t b, int sum) {
#if defined(__CUDA_ARCH__)
  return __dp4a(static_cast<int>(a), static_cast<int>(b), sum);
#else
  for (int i = 0; i < 32; i += 8) {
    sum += static_cast<int8_t>(a >> i & 0xffu) * static_cast<int8_t>(b >> i & 0xffu);
  }
  return sum;
#endif
}

/// A normal number from eight random bytes, to within 3e-5 of the law's distribution function; at
/// most 6.1. Their weighted sum is bent to the normal law by an odd polynomial, as in D. Teichroew,
/// 1953 (Knuth, The Art of Computer Programming, 3.4.1), which holds for the weights' magnitudes in
/// draw_normals. `minus_mean`: half the sum of the weights.
MACADAM_HD float normal_of_bytes(PhiloxPair bytes, ByteWeights weights, int minus_mean) {
  // What is added to the bits of 1.5 * 2^23 is added to the number.
  constexpr float kShifter = 12582912.0f;
  constexpr int kShifterBits = 0x4b400000;
  const int sum =
      add_products(bytes.word[0], weights.low,
                   add_products(bytes.word[1], weights.high, kShifterBits + minus_mean));
  const float x = float_of_bits(static_cast<uint32_t>(sum)) - kShifter;
  const float z = x * x;
  const float p = fused(fused(2.484477824e-26f, z, 3.604331390e-16f), z, 3.948120138e-5f);
  return p * x;
}

/// Three standard normal numbers of a pixel from the same eight bytes: their weights are orthogonal
/// (products of quaternions), hence the numbers uncorrelated, and all but independent: the
/// correlation of their squares is -0.08. Seven rounds of Philox: the fewest that pass the
/// statistical tests of its authors.
MACADAM_HD Normals draw_normals(uint32_t pixel, uint32_t key0, uint32_t key1) {
  constexpr ByteWeights kRed = byte_weights(127, 125, 122, 121, 118, 115, 113, 109);
  constexpr ByteWeights kGreen = byte_weights(-125, 127, -121, 122, -115, 118, -109, 113);
  constexpr ByteWeights kBlue = byte_weights(-122, 121, 127, -125, -113, 109, 118, -115);
  const PhiloxPair bytes = philox(PhiloxPair{{pixel, key1}}, key0, 7);
  return {normal_of_bytes(bytes, kRed, 475), normal_of_bytes(bytes, kGreen, 5),
          normal_of_bytes(bytes, kBlue, 0)};
}

/// Clipped, then truncated.
MACADAM_HD uint8_t add_noise(float value, float noise) {
  const float sum = value + noise;
#if defined(__CUDA_ARCH__)
  uint32_t byte;
  asm("cvt.rzi.u8.f32 %0, %1;" : "=r"(byte) : "f"(sum));  // clips too
  return static_cast<uint8_t>(byte);
#else
  const float low = sum > 0.0f ? sum : 0.0f;
  return static_cast<uint8_t>(static_cast<int>(low < 255.0f ? low : 255.0f));
#endif
}

/// Whether the pixel's centre lies within a polygon (even-odd) or on its outline, which takes in
/// what is at most half a pixel away along the steeper axis. Source: OpenCV, fillPoly.
MACADAM_HD bool in_polygon(const int32_t* corners, int count, int x, int y) {
  bool within = false;
  int64_t x0 = corners[2 * (count - 1)], y0 = corners[2 * (count - 1) + 1];
  for (int i = 0; i < count; ++i) {
    const int64_t x1 = corners[2 * i], y1 = corners[2 * i + 1];
    const int64_t dx = x1 - x0, dy = y1 - y0, px = x - x0, py = y - y0;
    const int64_t cross = px * dy - py * dx;
    const int64_t wide = dx < 0 ? -dx : dx, tall = dy < 0 ? -dy : dy;
    const int64_t along = wide >= tall ? (dx < 0 ? -px : px) : (dy < 0 ? -py : py);
    const int64_t length = wide >= tall ? wide : tall, distance = cross < 0 ? -cross : cross;
    if (along >= 0 && along <= length && 2 * distance <= length) {
      // An edge that is one point is reached by that point alone.
      if (length > 0 || (px == 0 && py == 0)) return true;
    }
    // The edge crosses the pixel's row to the right of the pixel.
    if ((y0 > y) != (y1 > y) && (dy > 0 ? cross < 0 : cross > 0)) within = !within;
    x0 = x1;
    y0 = y1;
  }
  return within;
}

/// `data`: as in PixelOp::Kind::shadow.
MACADAM_HD bool in_polygons(const int32_t* data, int count, int x, int y) {
  const int32_t* corners = data + count;
  for (int i = 0; i < count; ++i) {
    if (in_polygon(corners, data[i], x, y)) return true;
    corners += 2 * data[i];
  }
  return false;
}

}  // namespace macadam::scalar
