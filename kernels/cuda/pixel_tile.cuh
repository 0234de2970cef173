#pragma once
// For kernels in which a thread works on all channels of one pixel: a block brings a run of pixels
// into shared memory with neighbouring threads on neighbouring bytes, and writes them back so.

#include "kernels/cuda/divisor.cuh"
#include "kernels/cuda/vector.cuh"

namespace macadam::cuda {

constexpr int kTileThreads = 128;

/// Geometry of the tiles of one tensor.
struct TileLayout {
  int64_t pixels = 0;  // of the tensor
  int tile = 0;        // pixels of a tile, at most kTileThreads
  int channels = 0;
  int stored = 0;  // with the spare ones, where pixels follow each other without a gap
  int row = 0;     // elements from pixel to pixel in shared memory
  Divisor by_channels, by_stored;

  int64_t tiles() const { return (pixels + tile - 1) / tile; }
};

/// Rows are padded to an odd number of 4-byte words where that is possible, so that threads that
/// read one channel of neighbouring pixels hit different banks.
inline TileLayout tile_layout(const Tensor& tensor) {
  constexpr size_t kMostBytes = 34 * 1024;
  TileLayout layout;
  layout.pixels = tensor.shape.pixels();
  layout.channels = tensor.shape.c;
  layout.stored = tensor.whole().dense() ? tensor.whole().shape.c : tensor.shape.c;
  layout.by_channels = Divisor(layout.channels);
  layout.by_stored = Divisor(layout.stored);
  if (size_of(tensor.dtype) == 4) {
    layout.row = layout.stored | 1;
  } else {
    layout.row = layout.stored + (layout.stored % 4 == 0 ? 2 : 0);
  }
  const size_t row_bytes = static_cast<size_t>(layout.row) * size_of(tensor.dtype);
  layout.tile = kTileThreads;
  while (layout.tile > 8 && static_cast<size_t>(layout.tile) * row_bytes > kMostBytes) {
    layout.tile /= 2;
  }
  return layout;
}

inline size_t tile_bytes(const TileLayout& layout, DType dtype) {
  return static_cast<size_t>(layout.tile) * static_cast<size_t>(layout.row) * size_of(dtype);
}

/// Whether tiles of the tensor are runs of 16-byte chunks. With spare channels these are whole.
inline bool contiguous_tiles(const Tensor& tensor, const TileLayout& layout) {
  const Tensor whole = tensor.whole();
  return whole.dense() && whole.shape.c == layout.stored &&
         (tensor.spare == 0 ||
          whole_vectors({&whole}, static_cast<int>(16 / size_of(whole.dtype)))) &&
         reinterpret_cast<uintptr_t>(whole.data) % 16 == 0;
}

/// Calls visit(element of the tile, its place in shared memory) for `span` elements from `first`.
template <typename Visit>
__device__ __forceinline__ void for_each_in_row(const TileLayout& layout, int first, int span,
                                                const Visit& visit) {
  int pixel = static_cast<int>(layout.by_stored.quotient(static_cast<uint32_t>(first)));
  int channel = first - pixel * layout.stored;
#pragma unroll
  for (int i = 0; i < span; ++i) {
    visit(i, pixel * layout.row + channel);
    if (++channel == layout.stored) {
      channel = 0;
      ++pixel;
    }
  }
}

/// tile = pixels [first, first + count) of x. Call with all threads of the block.
template <typename T>
__device__ void load_tile(const View<const T>& x, bool contiguous, const TileLayout& layout,
                          int64_t first, int count, T* tile) {
  int elements = count * layout.channels, done = 0;
  if (contiguous) {
    constexpr int kSize = kWidth<T>;
    elements = count * layout.stored;
    const T* source = x.data + first * layout.stored;
    for (int chunk = static_cast<int>(threadIdx.x); chunk < elements / kSize;
         chunk += kTileThreads) {
      const Chunk<T> values = reinterpret_cast<const Chunk<T>*>(source)[chunk];
      for_each_in_row(layout, chunk * kSize, kSize,
                      [&](int i, int place) { tile[place] = values.lane[i]; });
    }
    done = elements / kSize * kSize;  // all of them, where some are spare
  }
  for (int i = done + static_cast<int>(threadIdx.x); i < elements; i += kTileThreads) {
    const int pixel = static_cast<int>(layout.by_channels.quotient(static_cast<uint32_t>(i)));
    const int channel = i - pixel * layout.channels;
    tile[pixel * layout.row + channel] = *x.at(first + pixel, channel);
  }
}

/// The way back.
template <typename T>
__device__ void store_tile(const View<T>& y, bool contiguous, const TileLayout& layout,
                           int64_t first, int count, const T* tile) {
  int elements = count * layout.channels, done = 0;
  if (contiguous) {
    constexpr int kSize = kWidth<T>;
    elements = count * layout.stored;
    T* destination = y.data + first * layout.stored;
    for (int chunk = static_cast<int>(threadIdx.x); chunk < elements / kSize;
         chunk += kTileThreads) {
      Chunk<T> values;
      for_each_in_row(layout, chunk * kSize, kSize,
                      [&](int i, int place) { values.lane[i] = tile[place]; });
      reinterpret_cast<Chunk<T>*>(destination)[chunk] = values;
    }
    done = elements / kSize * kSize;
  }
  for (int i = done + static_cast<int>(threadIdx.x); i < elements; i += kTileThreads) {
    const int pixel = static_cast<int>(layout.by_channels.quotient(static_cast<uint32_t>(i)));
    const int channel = i - pixel * layout.channels;
    *y.at(first + pixel, channel) = tile[pixel * layout.row + channel];
  }
}

}  // namespace macadam::cuda
