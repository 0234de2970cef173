#pragma once
// Kernels that treat NHWC data as a matrix of pixels x channels: sums down the columns in a fixed
// order, and maps whose coefficients belong to a channel. A thread keeps to one vector of channels
// and walks down the pixels, so that a channel's coefficients are loaded once.

#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row_sums.cuh"
#include "kernels/cuda/vector.cuh"

namespace macadam::cuda {

/// Channels that a block covers; wider matrices take several blocks a row.
constexpr int kTileChannels = 256;

/// How a matrix is cut. A block has `rows` rows of `tile` threads; a thread owns V channels of some
/// of the pixels: 16 bytes where memory is aligned, else one channel.
struct ColumnLayout {
  int64_t pixels = 0;
  int channels = 0;
  int chunks = 0;  // blocks that share the pixels out
  int channel_tiles = 0;
  int tile = 0, rows = 0;
  bool vectorized = false;
};

/// The chunks of a sum, a function of the shape alone: at most `blocks`, each with four rounds of
/// work or more for its threads.
inline int sum_chunks(const Shape& shape, int blocks = kShareBlocks) {
  const int channel_tiles = (shape.c + kTileChannels - 1) / kTileChannels;
  const int64_t least_pixels =
      int64_t{4} * kThreads * kWidth<bf16> / std::min(shape.c, kTileChannels);
  const int64_t useful = (shape.pixels() + least_pixels - 1) / least_pixels;
  return static_cast<int>(std::clamp<int64_t>(useful, 1, std::max(1, blocks / channel_tiles)));
}

/// Rounds of pixels that a block of a map works off, where that leaves blocks enough.
constexpr int kMapRounds = 16;

/// The blocks that share out the pixels of a map, `rows` a round: kMapRounds rounds each, or fewer
/// where less than kShareBlocks blocks would come of it, over all `repeats` of the map.
inline int map_chunks(int64_t pixels, int rows, int repeats) {
  const int64_t all_rounds = std::max(1u, blocks_for(pixels, rows));
  const int64_t rounds = std::clamp<int64_t>(all_rounds * repeats / kShareBlocks, 1, kMapRounds);
  return static_cast<int>(blocks_for(all_rounds, rounds));
}

/// `chunks` = 0: the chunks of a map.
inline ColumnLayout column_layout(std::initializer_list<const Tensor*> tensors, int chunks = 0) {
  const Shape shape = (*tensors.begin())->shape;
  ColumnLayout layout;
  for (const Tensor* tensor : tensors) {
    require(tensor->shape == shape && tensor->dtype == (*tensors.begin())->dtype,
            "the tensors of a call share one shape and dtype");
  }
  const auto width = static_cast<int>(16 / size_of((*tensors.begin())->dtype));
  layout.vectorized = whole_vectors(tensors, width);
  const int per_thread = layout.vectorized ? width : 1;
  layout.pixels = shape.pixels();
  layout.channels = shape.c;
  layout.channel_tiles = (shape.c + kTileChannels - 1) / kTileChannels;
  layout.tile = (std::min(shape.c, kTileChannels) + per_thread - 1) / per_thread;
  layout.rows = kThreads / layout.tile;
  layout.chunks =
      chunks > 0 ? chunks : map_chunks(layout.pixels, layout.rows, layout.channel_tiles);
  return layout;
}

/// The layout where `factors`, a tensor of as many channels, takes part in the choice of vectors.
inline ColumnLayout with_factors(ColumnLayout layout, const Tensor& factors) {
  const auto width = static_cast<int>(16 / size_of(factors.dtype));
  if (layout.vectorized && !vector_aligned(factors, width)) {
    layout.vectorized = false;
    layout.tile = std::min(layout.channels, kTileChannels);
    layout.rows = kThreads / layout.tile;
  }
  return layout;
}

inline dim3 grid_of(const ColumnLayout& layout) {
  return dim3(static_cast<unsigned>(layout.chunks), static_cast<unsigned>(layout.channel_tiles));
}

/// A thread's place in its block.
struct ColumnPlace {
  int row, channel;
  bool active;

  __device__ ColumnPlace(const ColumnLayout& layout, int per_thread) {
    const int thread = static_cast<int>(threadIdx.x);
    row = thread / layout.tile;
    channel = static_cast<int>(blockIdx.y) * kTileChannels + thread % layout.tile * per_thread;
    active = row < layout.rows && channel < layout.channels;
  }
};

/// The V elements at `source`, as they are stored.
template <int V, typename T>
__device__ __forceinline__ Chunk<T, V> chunk_at(const T* source) {
  return *reinterpret_cast<const Chunk<T, V>*>(source);
}

/// Takes a thread's pixels `first`, first + step, ... below `end` in this order. fetch(pixel, held)
/// loads what take(pixel, held) works on: `Together` pixels are fetched before the first of them is
/// taken, so that their loads are in flight together.
template <int Together, typename Held, typename Fetch, typename Take>
__device__ __forceinline__ void for_pixels(int64_t first, int64_t end, int64_t step,
                                           const Fetch& fetch, const Take& take) {
  for (int64_t pixel = first; pixel < end; pixel += Together * step) {
    Held held[Together];
#pragma unroll
    for (int i = 0; i < Together; ++i) {
      if (pixel + i * step < end) fetch(pixel + i * step, held[i]);
    }
#pragma unroll
    for (int i = 0; i < Together; ++i) {
      if (pixel + i * step < end) take(pixel + i * step, held[i]);
    }
  }
}

template <int K, int V>
struct ColumnSumsShared {
  float value[K * V][kThreads];
};

/// Source::kSums sums a channel. A thread's work = source.start<V>(channel) has fetch(pixel, held),
/// which loads a pixel into Source::Held<V>, and take(pixel, held, sums), which adds its terms to
/// sums[kSums][V]. Source::kTogether pixels are fetched at once; Source::Element is the tensors'
/// storage type, and Source::kBlocksPerProcessor what its registers allow. The blocks take turns at
/// the pixels, so that together they sweep memory once from the first to the last. In the end
/// finish(channel, sums) is called once a channel with its kSums sums in double.
/// rows: one a chunk, [kSums][channels].
template <int V, typename Source, typename Finish>
__global__ void __launch_bounds__(kThreads, Source::kBlocksPerProcessor)
    column_sums(Source source, ColumnLayout layout, Finish finish, RowSums rows) {
  constexpr int K = Source::kSums;
  auto& shared_sums = shared<ColumnSumsShared<K, V>>().value;
  const int thread = static_cast<int>(threadIdx.x);
  const ColumnPlace place(layout, V);

  float sums[K][V] = {};
  if (place.active) {
    using Held = typename Source::template Held<V>;
    const auto work = source.template start<V>(place.channel);
    const int64_t first = static_cast<int64_t>(blockIdx.x) * layout.rows + place.row;
    const int64_t step = static_cast<int64_t>(gridDim.x) * layout.rows;
    for_pixels<Source::kTogether, Held>(
        first, layout.pixels, step, [&](int64_t pixel, Held& held) { work.fetch(pixel, held); },
        [&](int64_t pixel, const Held& held) { work.take(pixel, held, sums); });
  }
#pragma unroll
  for (int k = 0; k < K; ++k) {
#pragma unroll
    for (int i = 0; i < V; ++i) shared_sums[k * V + i][thread] = sums[k][i];
  }
  for (int height = layout.rows; height > 1;) {
    const int half = (height + 1) / 2;
    __syncthreads();
    if (place.row + half < height) {
#pragma unroll
      for (int i = 0; i < K * V; ++i) {
        shared_sums[i][thread] += shared_sums[i][thread + half * layout.tile];
      }
    }
    height = half;
  }
  if (place.row == 0 && place.active) {
    float* out = rows.row(blockIdx.x) + place.channel;
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
      for (int i = 0; i < V; ++i) {
        out[static_cast<int64_t>(k) * layout.channels + i] = shared_sums[k * V + i][thread];
      }
    }
  }
  const int first = static_cast<int>(blockIdx.y) * kTileChannels;
  const int left = layout.channels - first;
  rows.template finish<K>(
      blockIdx.x, blockIdx.y, left < kTileChannels ? left : kTileChannels,
      [&](int i, int k) { return static_cast<int64_t>(k) * layout.channels + first + i; },
      [&](int i, const double(&totals)[K]) { finish(first + i, totals); });
}

/// A map of every pixel, described like the source of column_sums, but for take(pixel, held), which
/// stores. The blocks go from the last pixels to the first: what the pass before read last is still
/// in the cache.
template <int V, typename Op>
__global__ void __launch_bounds__(kThreads, Op::kBlocksPerProcessor)
    column_map(Op op, ColumnLayout layout, int64_t chunk_pixels) {
  const ColumnPlace place(layout, V);
  if (!place.active) return;
  using Held = typename Op::template Held<V>;
  const auto work = op.template start<V>(place.channel);
  const int64_t chunk = gridDim.x - 1 - blockIdx.x;
  const int64_t begin = chunk * chunk_pixels, limit = begin + chunk_pixels;
  const int64_t end = limit < layout.pixels ? limit : layout.pixels;
  for_pixels<Op::kTogether, Held>(
      begin + place.row, end, layout.rows,
      [&](int64_t pixel, Held& held) { work.fetch(pixel, held); },
      [&](int64_t pixel, const Held& held) { work.take(pixel, held); });
}

/// `workspace`: column_sums_bytes() of the layout's chunks and channels.
template <typename Source, typename Finish>
void launch_column_sums(Stream& stream, const ColumnLayout& layout, const Source& source,
                        const Finish& finish, void* workspace) {
  const auto kernel = layout.vectorized
                          ? column_sums<kWidth<typename Source::Element>, Source, Finish>
                          : column_sums<1, Source, Finish>;
  const RowSums rows(stream, workspace, layout.chunks, int64_t{Source::kSums} * layout.channels,
                     layout.channel_tiles);
  launch(stream, kernel, grid_of(layout), kThreads, 0, source, layout, finish, rows);
}

inline size_t column_sums_bytes(int chunks, int channels, int sums) {
  return RowSums::bytes(chunks, int64_t{sums} * channels);
}

template <typename Op>
void launch_column_map(Stream& stream, const ColumnLayout& layout, const Op& op) {
  const auto kernel =
      layout.vectorized ? column_map<kWidth<typename Op::Element>, Op> : column_map<1, Op>;
  const int64_t rounds = blocks_for(blocks_for(layout.pixels, layout.rows), layout.chunks);
  launch(stream, kernel, grid_of(layout), kThreads, 0, op, layout, rounds * layout.rows);
}

}  // namespace macadam::cuda
