#pragma once
// The mean of a box of pixels around each pixel of a tile in shared memory, in two passes of sums.
// R and B are summed in the halves of one word, G in a word of its own.

#include <cstdint>

#include "base/round_up.h"
#include "kernels/cuda/byte_words.cuh"
#include "kernels/cuda/launch.cuh"

namespace macadam::cuda {

/// A tile of words (R, G, B, label) with `radius` more on every side.
struct TileGeometry {
  static constexpr int kColumns = 64;

  int rows = 0, radius = 0;

  __host__ __device__ int columns_with_halo() const { return kColumns + 2 * radius; }
  __host__ __device__ int rows_with_halo() const { return rows + 2 * radius; }
  /// Columns are shifted so that the tile proper begins on a multiple of 16 bytes.
  __host__ __device__ int left() const { return round_up(radius, 4); }
  __host__ __device__ int pitch() const { return kColumns + 2 * left(); }
  /// Of the pixel at (row, column) of the tile proper, which begins at (0, 0).
  __host__ __device__ int at(int row, int column) const {
    return (row + radius) * pitch() + left() + column;
  }
  /// Rows are filled four at a time.
  __host__ __device__ int words() const { return round_up(rows_with_halo(), 4) * pitch(); }
};

/// The sums along rows of a tile, of its own columns and all of its rows.
struct RowSums {
  uint32_t* red_blue;
  uint16_t* green;
};

/// Of boxes whose bytes have a sum below 2^16.
constexpr int kMostPackedRadius = 7;

/// The quotient of sums of bytes by the box's area, rounded. Areas are odd, so that there are no
/// ties. kPacked: of at most 15 x 15 bytes, else of 31 x 31.
template <bool kPacked>
class BoxMean {
 public:
  __device__ explicit BoxMean(int size)
      : area_(static_cast<uint32_t>(size * size)),
        inverse_((kPacked ? 0xffffffu : 0xffffffffu) / area_ + 1) {}

  /// What sums begin with, for the quotient to be rounded.
  __device__ uint32_t half() const { return area_ / 2; }
  /// The mean in the highest byte.
  __device__ uint32_t operator()(uint32_t sum) const {
    if constexpr (kPacked) return sum * inverse_;
    return static_cast<uint32_t>((static_cast<uint64_t>(sum) * inverse_) >> 32) << 24;
  }

 private:
  uint32_t area_, inverse_;
};

struct alignas(16) FourWords {
  uint32_t word[4];
};

struct alignas(8) FourHalves {
  uint16_t half[4];
};

__device__ __forceinline__ uint32_t red_blue_of(uint32_t pixel) { return pixel & 0x00ff00ffu; }
__device__ __forceinline__ uint32_t green_of(uint32_t pixel) { return pixel >> 8 & 0xffu; }

/// Sums of four neighbouring pixels' rows. kRadius: 1, 2, 3; or 0 for any.
template <int kRadius>
__device__ __forceinline__ void sum_rows(const TileGeometry& tile, const uint32_t* words,
                                         const RowSums& sums) {
  constexpr unsigned kRuns = TileGeometry::kColumns / 4;
  const int radius = kRadius > 0 ? kRadius : tile.radius;
  const unsigned runs = static_cast<unsigned>(tile.rows_with_halo()) * kRuns;
  for (unsigned i = threadIdx.x; i < runs; i += kThreads) {
    const auto row = static_cast<int>(i / kRuns), column = static_cast<int>(i % kRuns * 4);
    const uint32_t* first = words + row * tile.pitch() + column;  // left() before the first pixel
    FourWords red_blue;
    FourHalves green;
    uint32_t rb = 0, g = 0;
    if constexpr (kRadius > 0) {
      uint32_t word[12];
#pragma unroll
      for (int part = 0; part < 3; ++part) {
        const FourWords four = reinterpret_cast<const FourWords*>(first)[part];
#pragma unroll
        for (int j = 0; j < 4; ++j) word[4 * part + j] = four.word[j];
      }
#pragma unroll
      for (int j = 4 - kRadius; j <= 4 + kRadius; ++j) {
        rb += red_blue_of(word[j]);
        g += green_of(word[j]);
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (j > 0) {
          rb += red_blue_of(word[4 + j + kRadius]) - red_blue_of(word[3 + j - kRadius]);
          g += green_of(word[4 + j + kRadius]) - green_of(word[3 + j - kRadius]);
        }
        red_blue.word[j] = rb;
        green.half[j] = static_cast<uint16_t>(g);
      }
    } else {
      const uint32_t* center = first + tile.left();
      for (int j = -radius; j <= radius; ++j) {
        rb += red_blue_of(center[j]);
        g += green_of(center[j]);
      }
      for (int j = 0; j < 4; ++j) {
        if (j > 0) {
          rb += red_blue_of(center[j + radius]) - red_blue_of(center[j - radius - 1]);
          g += green_of(center[j + radius]) - green_of(center[j - radius - 1]);
        }
        red_blue.word[j] = rb;
        green.half[j] = static_cast<uint16_t>(g);
      }
    }
    const int place = row * TileGeometry::kColumns + column;
    *reinterpret_cast<FourWords*>(sums.red_blue + place) = red_blue;
    *reinterpret_cast<FourHalves*>(sums.green + place) = green;
  }
}

/// Replaces the colours of the tile's pixels by their means. kPacked: the sums of R and B fit into
/// the halves of a word.
template <bool kPacked>
__device__ __forceinline__ void mean_of_sums(const TileGeometry& tile, const RowSums& sums,
                                             uint32_t* words) {
  constexpr int kColumns = TileGeometry::kColumns, kGroups = kThreads / kColumns;
  const int column = static_cast<int>(threadIdx.x) % kColumns;
  const int run = (tile.rows + kGroups - 1) / kGroups;  // rows of a thread
  const int first = static_cast<int>(threadIdx.x) / kColumns * run;
  const int end = first + run < tile.rows ? first + run : tile.rows;
  if (first >= end) return;
  const int size = 2 * tile.radius + 1;
  const BoxMean<kPacked> mean(size);
  const uint32_t* red_blue = sums.red_blue + first * kColumns + column;  // that leave the box
  const uint16_t* green = sums.green + first * kColumns + column;
  uint32_t r = mean.half(), b = r, g = r, rb = r | b << 16;
  const auto add = [&](uint32_t more_rb, uint32_t more_g) {
    if constexpr (kPacked) {
      rb += more_rb;
    } else {
      r += more_rb & 0xffffu;
      b += more_rb >> 16;
    }
    g += more_g;
  };
  const int ahead = (size - 1) * kColumns;
#pragma unroll 2
  for (int row = 0; row < ahead; row += kColumns) add(red_blue[row], green[row]);
  uint32_t* word = words + tile.at(first, column);
#pragma unroll 4
  for (int row = first; row < end; ++row) {
    add(red_blue[ahead], green[ahead]);
    const uint32_t red = kPacked ? rb & 0xffffu : r, blue = kPacked ? rb >> 16 : b;
    *word = pick_bytes(pick_bytes(mean(red), mean(g), 0x0073),
                       pick_bytes(mean(blue), *word, 0x7300), 0x7610);
    const uint32_t old_rb = *red_blue, old_g = *green;
    if constexpr (kPacked) {
      rb -= old_rb;
    } else {
      r -= old_rb & 0xffffu;
      b -= old_rb >> 16;
    }
    g -= old_g;
    word += tile.pitch();
    red_blue += kColumns;
    green += kColumns;
  }
}

/// Call with all threads of the block, after a barrier; ends with one.
__device__ __forceinline__ void box_mean(const TileGeometry& tile, const RowSums& sums,
                                         uint32_t* words) {
  switch (tile.radius) {
    case 1: sum_rows<1>(tile, words, sums); break;
    case 2: sum_rows<2>(tile, words, sums); break;
    case 3: sum_rows<3>(tile, words, sums); break;
    default: sum_rows<0>(tile, words, sums);
  }
  __syncthreads();
  if (tile.radius <= kMostPackedRadius) {
    mean_of_sums<true>(tile, sums, words);
  } else {
    mean_of_sums<false>(tile, sums, words);
  }
  __syncthreads();
}

}  // namespace macadam::cuda
