#pragma once
// Pixels of a resampled image, several a thread: scalar/warp.h with what is common to a block's
// pixels (the maps, their kinds) read once for all of a thread's. A pixel is a word: R, G, B from
// the lowest byte on, then the label.

#include <cstdint>

#include "kernels/augment_program.h"
#include "kernels/cuda/byte_words.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/scalar/warp.h"

namespace macadam::cuda {

/// Pixels that a thread works on at a time.
constexpr int kBatch = 4;

/// Where they lie in the image.
struct Coordinates {
  int y[kBatch], x[kBatch];
};

/// Two neighbouring pixels of a row, by channel: R, R, G, G; and B, B in the lower bytes.
struct PixelPair {
  uint32_t red_green, blue;

  /// From byte (first_bit / 8) % 4 of three words.
  __device__ PixelPair(const uint32_t* words, uint32_t first_bit) {
    const uint32_t middle = __ldg(words + 1);
    const uint32_t low = shift_words(__ldg(words), middle, first_bit);
    const uint32_t high = shift_words(middle, __ldg(words + 2), first_bit);
    red_green = pick_bytes(low, high, 0x4130);
    blue = pick_bytes(low, high, 0x0052);
  }
};

/// A position in 1/32 pixel: a pixel, and how far from it towards the next column and row.
struct Corner {
  int row;
  uint32_t pixel, right, down;

  __device__ Corner(float x, float y, int width) {
    constexpr int kBits = scalar::kSubpixelBits, kFraction = scalar::kSubpixels - 1;
    const int sub_x = scalar::subpixels(x), sub_y = scalar::subpixels(y);
    row = sub_y >> kBits;
    pixel = static_cast<uint32_t>(row * width + (sub_x >> kBits));
    right = static_cast<uint32_t>(sub_x & kFraction);
    down = static_cast<uint32_t>(sub_y & kFraction);
  }

  /// scalar::nearest_pixel.
  __device__ uint32_t nearest(int width) const {
    constexpr int kHalfBit = scalar::kSubpixelBits - 1;
    return pixel + (right >> kHalfBit) + (down >> kHalfBit) * static_cast<uint32_t>(width);
  }
};

/// The RGB image of one sample and how it is best read.
struct SampleImage {
  const uint8_t* data;
  int height, width;
  bool words;  // its rows begin and end on multiples of 4 bytes

  __device__ uint32_t at(int y, int x) const {
    const uint8_t* p = data + 3 * (y * width + x);
    return static_cast<uint32_t>(__ldg(p) | __ldg(p + 1) << 8 | __ldg(p + 2) << 16);
  }

  /// Where `words`: whether mixed_by_words, which reads a little beyond the lower pixels, stays
  /// within the image.
  __device__ bool has_words(const Corner& at) const { return at.row < height - 2; }

  /// Mixed of the four pixels around a position, scalar::mix_bytes: R in the lowest byte.
  __device__ uint32_t mixed_by_words(const Corner& at, uint32_t label) const {
    constexpr uint32_t kOne = scalar::kSubpixels;
    // At the last column the farther pixel, one of the next row, has no weight.
    const uint32_t columns = kOne + at.right * 0xffffu;  // kOne - right, right
    const uint32_t lower_weights = columns * at.down,
                   upper_weights = columns * kOne - lower_weights;
    const uint32_t byte = 3 * at.pixel;
    const auto* upper = reinterpret_cast<const uint32_t*>(data) + byte / 4;
    const auto row_words = static_cast<uint32_t>(width) / 4 * 3;
    const PixelPair a(upper, 8 * byte), b(upper + row_words, 8 * byte);
    // Sums of 10 bits of fraction, moved up until the byte before them is the third one.
    constexpr uint32_t kHalf = 1u << (2 * scalar::kSubpixelBits - 1);
    constexpr int kShift = 16 - 2 * scalar::kSubpixelBits;
    const uint32_t red =
        add_weighted(upper_weights, a.red_green, add_weighted(lower_weights, b.red_green, kHalf));
    const uint32_t green = add_weighted_upper(
        upper_weights, a.red_green, add_weighted_upper(lower_weights, b.red_green, kHalf));
    const uint32_t blue =
        add_weighted(upper_weights, a.blue, add_weighted(lower_weights, b.blue, kHalf));
    const uint32_t red_green = pick_bytes(red << kShift, green << kShift, 0x0062);
    return pick_bytes(red_green, (blue << kShift) + (label << 24), 0x7610);
  }

  /// The same by the definition, from any address.
  __device__ uint32_t mixed_by_bytes(const Corner& at, uint32_t label) const {
    const uint8_t* a = data + 3 * at.pixel;
    const int right = at.right != 0 ? 3 : 0;
    const uint8_t* b = a + (at.down != 0 ? 3 * width : 0);
    uint32_t result = label << 24;
#pragma unroll
    for (int c = 0; c < 3; ++c) {
      const int mixed =
          scalar::mix_bytes(__ldg(a + c), __ldg(a + c + right), __ldg(b + c), __ldg(b + c + right),
                            static_cast<int>(at.right), static_cast<int>(at.down));
      result |= static_cast<uint32_t>(mixed) << (8 * c);
    }
    return result;
  }
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
  // Among the bits of floats, those of numbers from 0 to the last pixel are the smallest.
  const uint32_t last_x = scalar::bits_of_float(static_cast<float>(width - 1));
  const uint32_t last_y = scalar::bits_of_float(static_cast<float>(height - 1));
  bool within = true;
#pragma unroll
  for (int k = 0; k < kBatch; ++k) {
    within = within & (scalar::bits_of_float(p.x[k]) <= last_x) &
             (scalar::bits_of_float(p.y[k]) <= last_y);
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
  bool words = image.words;
#pragma unroll
  for (int k = 0; k < kBatch; ++k) {
    words = words & image.has_words(Corner(p.x[k], p.y[k], image.width));
  }
#pragma unroll
  for (int k = 0; k < kBatch; ++k) {
    const Corner corner(p.x[k], p.y[k], image.width);
    pixel[k] = __ldg(labels + corner.nearest(image.width));
  }
  if (words) {
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      pixel[k] = image.mixed_by_words(Corner(p.x[k], p.y[k], image.width), pixel[k]);
    }
  } else {
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      pixel[k] = image.mixed_by_bytes(Corner(p.x[k], p.y[k], image.width), pixel[k]);
    }
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
