#pragma once
// Normalisation of a run of pixels. Include it only where the compiler contracts nothing to fused
// multiply-adds, so that every caller computes the same bits.

#include <array>
#include <cstdint>

#include "base/to_size.h"
#include "kernels/augment.h"
#include "kernels/scalar/half.h"
#include "kernels/scalar/normalize.h"

namespace macadam::cpu {

/// Pixels normalised together: 48 bytes, in which the three channels repeat 16 times.
constexpr int kNormalizedPixels = 16;
constexpr int kNormalizedBytes = 3 * kNormalizedPixels;

/// The three channels' maps, repeated so that a plain loop over bytes reads them in step.
struct RepeatedAffine {
  alignas(64) std::array<float, kNormalizedBytes> scale, shift;

  explicit RepeatedAffine(const Normalization& n) {
    for (int i = 0; i < kNormalizedBytes; ++i) {
      const auto c = to_size(i % 3);
      const scalar::Affine affine = scalar::byte_normalization(n.mean[c], n.std[c], n.range);
      scale[to_size(i)] = affine.scale;
      shift[to_size(i)] = affine.shift;
    }
  }
};

/// n <= kNormalizedBytes bytes, of which the first one is of the first channel.
template <typename T>
inline void normalize_bytes(const uint8_t* bytes, const RepeatedAffine& affine, T* x, int n) {
  const float* scale = affine.scale.data();
  const float* shift = affine.shift.data();
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    x[i] = scalar::from_float<T>(scalar::Affine{scale[i], shift[i]}(static_cast<float>(bytes[i])));
  }
}

/// The first channel of a pixel of the network's input, from that of a byte image: R, G, B or,
/// with `bgr`, B, G, R.
constexpr int input_channel(int channel, bool bgr) { return bgr ? 2 - channel : channel; }

}  // namespace macadam::cpu
