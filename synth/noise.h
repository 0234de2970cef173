#pragma once
// Value noise from one fixed table.

#include <array>
#include <cstdint>

#include "synth/math.h"

namespace macadam::synth {

inline constexpr int kNoiseSize = 128;
using NoiseTable = std::array<float, kNoiseSize * kNoiseSize>;

/// Uniform values in [0, 1), the same on every machine and for every street.
const NoiseTable& noise_table();

/// Smoothly interpolated values of the table at lattice coordinates; in [0, 1), mean 0.5.
inline float noise(const NoiseTable& table, float x, float y) {
  const float fx = std::floor(x), fy = std::floor(y);
  float tx = x - fx, ty = y - fy;
  tx = tx * tx * (3.0f - 2.0f * tx);
  ty = ty * ty * (3.0f - 2.0f * ty);
  constexpr uint32_t kMask = kNoiseSize - 1;
  const uint32_t x0 = static_cast<uint32_t>(static_cast<int32_t>(fx)) & kMask;
  const uint32_t x1 = (x0 + 1) & kMask;
  const uint32_t y0 = (static_cast<uint32_t>(static_cast<int32_t>(fy)) & kMask) * kNoiseSize;
  const uint32_t y1 = (y0 + kNoiseSize) & (kMask * kNoiseSize);
  return mix(mix(table[y0 + x0], table[y0 + x1], tx), mix(table[y1 + x0], table[y1 + x1], tx), ty);
}

/// Noise that fades to its mean where one lattice cell is smaller than the filter width.
inline float filtered_noise(const NoiseTable& table, float x, float y, float width) {
  const float fade = clamp01(2.0f - 2.0f * width);
  return fade <= 0 ? 0.5f : 0.5f + (noise(table, x, y) - 0.5f) * fade;
}

/// A sum of octaves, each of half the size and half the weight of the one before; in [0, 1).
inline float fractal_noise(const NoiseTable& table, float x, float y, int octaves) {
  float sum = 0, weight = 1, total = 0;
  for (int i = 0; i < octaves; ++i) {
    sum += weight * noise(table, x, y);
    total += weight;
    weight *= 0.5f;
    x = x * 2.03f + 17.3f;
    y = y * 2.03f + 41.7f;
  }
  return sum / total;
}

}  // namespace macadam::synth
