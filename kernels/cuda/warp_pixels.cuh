#pragma once
// Pixels of a resampled image, several a thread: scalar/warp.h with what is common to a block's
// pixels (the maps, their kinds) read once for all of a thread's. A pixel is a word: R, G, B from
// the lowest byte on, then the label.

#include <cstdint>

#include "kernels/augment_program.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/scalar/warp.h"

namespace macadam::cuda {

/// Pixels that a thread works on at a time.
constexpr int kBatch = 4;

/// Where they lie in the image.
struct Coordinates {
  int y[kBatch], x[kBatch];
};

/// Bytes `selector` (four digits, the lowest first) of the eight of b and a.
__device__ __forceinline__ uint32_t pick_bytes(uint32_t a, uint32_t b, uint32_t selector) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(a, b, selector);
#else
  const uint64_t bytes = uint64_t{b} << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t digit = selector >> (4 * i) & 7u;
    result |= static_cast<uint32_t>(bytes >> (8 * digit) & 0xffu) << (8 * i);
  }
  return result;
#endif
}

/// sum + the two weights of 16 bits times the two lower bytes.
__device__ __forceinline__ uint32_t add_weighted(uint32_t weights, uint32_t bytes, uint32_t sum) {
#if defined(__CUDA_ARCH__)
  return __dp2a_lo(weights, bytes, sum);
#else
  return sum + (weights & 0xffffu) * (bytes & 0xffu) + (weights >> 16) * (bytes >> 8 & 0xffu);
#endif
}

/// The lower word of high:low shifted right by shift % 32 bits.
__device__ __forceinline__ uint32_t shift_words(uint32_t low, uint32_t high, uint32_t shift) {
#if defined(__CUDA_ARCH__)
  return __funnelshift_r(low, high, shift);
#else
  return static_cast<uint32_t>((uint64_t{high} << 32 | low) >> (shift & 31u));
#endif
}

/// Two neighbouring pixels of a row: R, G, B, R; G (in the lowest byte); B.
struct PixelPair {
  uint32_t rgbr, g, b;

  /// From any address, two aligned words and the last byte at a time.
  __device__ explicit PixelPair(const uint8_t* pixel) {
    const auto address = reinterpret_cast<uintptr_t>(pixel);
    const auto* words = reinterpret_cast<const uint32_t*>(address & ~uintptr_t{3});
    const auto shift = static_cast<uint32_t>(address) * 8;
    const uint32_t first = __ldg(words), second = __ldg(words + 1);
    rgbr = shift_words(first, second, shift);
    g = second >> (shift & 31u);
    b = __ldg(pixel + 5);
  }
};

/// The RGB image of one sample and how it is best read.
struct SampleImage {
  const uint8_t* data;
  int height, width;
  bool words;  // it begins and ends on a multiple of 4 bytes, and has two rows and columns

  __device__ uint32_t at(int y, int x) const {
    const uint8_t* p = data + 3 * (y * width + x);
    return static_cast<uint32_t>(__ldg(p) | __ldg(p + 1) << 8 | __ldg(p + 2) << 16);
  }

  /// Mixed of the four pixels around a position in 1/32 pixel: scalar::mix_bytes.
  __device__ uint32_t mixed_at(int y, int x) const {
    constexpr int kBits = scalar::kSubpixelBits, kOne = scalar::kSubpixels;
    if (words) {
      // At the last row or column the pixel itself is the farther one, with all the weight.
      const int x0 = min_of(x >> kBits, width - 2), y0 = min_of(y >> kBits, height - 2);
      const int fx = x - (x0 << kBits), fy = y - (y0 << kBits);
      const auto columns = static_cast<uint32_t>(kOne - fx + (fx << 16));
      const uint32_t upper_weights = columns * static_cast<uint32_t>(kOne - fy);
      const uint32_t lower_weights = columns * static_cast<uint32_t>(fy);
      const uint8_t* first = data + 3 * (y0 * width + x0);
      const PixelPair a(first), b(first + 3 * width);
      // Sums of 10 bits of fraction.
      constexpr uint32_t kHalf = 1u << (2 * kBits - 1);
      const auto weighted = [&](uint32_t upper, uint32_t lower) {
        return add_weighted(upper_weights, upper, add_weighted(lower_weights, lower, kHalf));
      };
      const uint32_t red = weighted(pick_bytes(a.rgbr, 0, 0x7730), pick_bytes(b.rgbr, 0, 0x7730));
      const uint32_t green =
          weighted(pick_bytes(a.rgbr, a.g, 0x7741), pick_bytes(b.rgbr, b.g, 0x7741));
      const uint32_t blue =
          weighted(pick_bytes(a.rgbr, a.b, 0x7742), pick_bytes(b.rgbr, b.b, 0x7742));
      return red >> (2 * kBits) | (green >> (2 * kBits)) << 8 | (blue >> (2 * kBits)) << 16;
    }
    const int x0 = x >> kBits, y0 = y >> kBits, fx = x & (kOne - 1), fy = y & (kOne - 1);
    const uint8_t* a = data + 3 * (y0 * width + x0);
    const int right = fx != 0 ? 3 : 0;
    const uint8_t* b = a + (fy != 0 ? 3 * width : 0);
    uint32_t result = 0;
#pragma unroll
    for (int c = 0; c < 3; ++c) {
      const int mixed = scalar::mix_bytes(__ldg(a + c), __ldg(a + c + right), __ldg(b + c),
                                          __ldg(b + c + right), fx, fy);
      result |= static_cast<uint32_t>(mixed) << (8 * c);
    }
    return result;
  }

 private:
  __device__ static int min_of(int a, int b) { return a < b ? a : b; }
};

/// Where a thread's pixels come from.
struct BatchSources {
  float x[kBatch], y[kBatch];
  uint32_t inside;  // by bits
};

/// The map's kind is a constant here, so that its pixels share one branch.
template <CoordinateMap::Kind kKind>
__device__ __forceinline__ void move(const CoordinateMap& map, const std::byte* program, int height,
                                     int width, BatchSources& p) {
  CoordinateMap constant = map;
  constant.kind = kKind;
#pragma unroll
  for (int k = 0; k < kBatch; ++k) {
    const scalar::Point to =
        scalar::map_position(constant, program, {p.x[k], p.y[k]}, height, width);
    p.x[k] = to.x;
    p.y[k] = to.y;
  }
}

/// scalar::reflect_position; mostly no position needs its division.
__device__ __forceinline__ void reflect(int height, int width, BatchSources& p) {
  const auto last_x = static_cast<float>(width - 1), last_y = static_cast<float>(height - 1);
  bool within = true;
#pragma unroll
  for (int k = 0; k < kBatch; ++k) {
    within = within && p.x[k] >= 0.0f && p.x[k] <= last_x && p.y[k] >= 0.0f && p.y[k] <= last_y;
  }
  if (within) return;
#pragma unroll
  for (int k = 0; k < kBatch; ++k) {
    p.x[k] = scalar::reflect_position(p.x[k], width);
    p.y[k] = scalar::reflect_position(p.y[k], height);
  }
}

/// scalar::source_of. `header` may lie in shared memory.
__device__ __forceinline__ BatchSources sources_of(const AugmentHeader& header,
                                                   const std::byte* program, int height, int width,
                                                   const Coordinates& at) {
  using Kind = CoordinateMap::Kind;
  BatchSources p;
  p.inside = (1u << kBatch) - 1;
#pragma unroll
  for (int k = 0; k < kBatch; ++k) {
    p.x[k] = static_cast<float>(at.x[k]);
    p.y[k] = static_cast<float>(at.y[k]);
  }
#pragma unroll 1
  for (int i = 0; i < header.maps; ++i) {
    const CoordinateMap& map = header.map[i];
    switch (map.kind) {
      case Kind::affine: move<Kind::affine>(map, program, height, width, p); break;
      case Kind::grid: move<Kind::grid>(map, program, height, width, p); break;
      case Kind::radial: move<Kind::radial>(map, program, height, width, p); break;
      case Kind::field: move<Kind::field>(map, program, height, width, p); break;
    }
    if (map.border == Border::reflect) {
      reflect(height, width, p);
    } else {
#pragma unroll
      for (int k = 0; k < kBatch; ++k) {
        if (!scalar::inside(p.x[k], width) || !scalar::inside(p.y[k], height)) {
          p.inside &= ~(1u << k);
        }
        p.x[k] = scalar::clamp_position(p.x[k], width);
        p.y[k] = scalar::clamp_position(p.y[k], height);
      }
    }
  }
  return p;
}

/// A thread's pixels as they lie in the image, or in its mirror image. labels: of the same sample,
/// or null.
__device__ __forceinline__ void fetch_plain(const SampleImage& image, const uint8_t* labels,
                                            bool mirror, const Coordinates& at,
                                            uint32_t (&pixel)[kBatch]) {
#pragma unroll
  for (int k = 0; k < kBatch; ++k) {
    const int x = mirror ? image.width - 1 - at.x[k] : at.x[k];
    pixel[k] = image.at(at.y[k], x);
    if (labels != nullptr) {
      pixel[k] |= static_cast<uint32_t>(__ldg(labels + at.y[k] * image.width + x)) << 24;
    }
  }
}

/// The same through the program's maps.
__device__ __forceinline__ void fetch_warped(const AugmentHeader& header, const std::byte* program,
                                             const SampleImage& image, const uint8_t* labels,
                                             const Coordinates& at, uint32_t (&pixel)[kBatch]) {
  const BatchSources p = sources_of(header, program, image.height, image.width, at);
#pragma unroll
  for (int k = 0; k < kBatch; ++k) {
    const auto x = static_cast<int>(p.x[k] * scalar::kSubpixels + 0.5f);
    const auto y = static_cast<int>(p.y[k] * scalar::kSubpixels + 0.5f);
    const int nearest = scalar::nearest_pixel(y) * image.width + scalar::nearest_pixel(x);
    pixel[k] = image.mixed_at(y, x) | static_cast<uint32_t>(__ldg(labels + nearest)) << 24;
  }
  if (p.inside != (1u << kBatch) - 1) {
    const uint32_t fill =
        static_cast<uint32_t>(header.fill[0] | header.fill[1] << 8 | header.fill[2] << 16) |
        static_cast<uint32_t>(header.fill[3]) << 24;
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      if ((p.inside >> k & 1u) == 0) pixel[k] = fill;
    }
  }
}

}  // namespace macadam::cuda
