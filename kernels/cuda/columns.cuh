#pragma once
// Kernels that treat NHWC data as a matrix of pixels x channels: sums down the columns in a fixed
// order, and maps whose coefficients belong to a channel. A thread keeps to one vector of channels
// and walks down the pixels, so that a channel's coefficients are loaded once.

#include <algorithm>

#include "kernels/cuda/launch.cuh"
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
  bool vectorised = false;
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

/// Rounds of pixels that a block of a map works off.
constexpr int kMapRounds = 8;

/// `chunks` = 0: the chunks of a map, kMapRounds rounds each.
inline ColumnLayout column_layout(std::initializer_list<const Tensor*> tensors, int chunks = 0) {
  const Shape shape = (*tensors.begin())->shape;
  ColumnLayout layout;
  for (const Tensor* tensor : tensors) {
    require(tensor->shape == shape && tensor->dtype == (*tensors.begin())->dtype,
            "the tensors of a call share one shape and dtype");
  }
  const auto width = static_cast<int>(16 / size_of((*tensors.begin())->dtype));
  layout.vectorised = whole_vectors(tensors, width);
  const int per_thread = layout.vectorised ? width : 1;
  layout.pixels = shape.pixels();
  layout.channels = shape.c;
  layout.channel_tiles = (shape.c + kTileChannels - 1) / kTileChannels;
  layout.tile = (std::min(shape.c, kTileChannels) + per_thread - 1) / per_thread;
  layout.rows = kThreads / layout.tile;
  layout.chunks =
      chunks > 0 ? chunks : static_cast<int>(blocks_for(layout.pixels, kMapRounds * layout.rows));
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

template <int V>
struct ColumnSumsShared {
  float value[2 * V][kThreads];
};

/// Two sums a channel: source.start<V>(channel, V) gives a functor that is called with
/// (pixel, a, b) and adds a pixel's two terms; Source::Element is the tensors' storage type, and
/// Source::kBlocksPerProcessor what its registers allow.
/// partials: [chunk][2][channels]. The blocks take turns at the pixels, so that together they sweep
/// memory once from the first to the last.
template <int V, typename Source>
__global__ void __launch_bounds__(kThreads, Source::kBlocksPerProcessor)
    column_sums(Source source, ColumnLayout layout, float* partials) {
  auto& sums = shared<ColumnSumsShared<V>>().value;
  const int thread = static_cast<int>(threadIdx.x);
  const ColumnPlace place(layout, V);

  float a[V] = {}, b[V] = {};
  if (place.active) {
    const auto add = source.template start<V>(place.channel, V);
    const int64_t step = static_cast<int64_t>(gridDim.x) * layout.rows;
#pragma unroll 2
    for (int64_t pixel = static_cast<int64_t>(blockIdx.x) * layout.rows + place.row;
         pixel < layout.pixels; pixel += step) {
      add(pixel, a, b);
    }
  }
#pragma unroll
  for (int i = 0; i < V; ++i) {
    sums[i][thread] = a[i];
    sums[V + i][thread] = b[i];
  }
  for (int height = layout.rows; height > 1;) {
    const int half = (height + 1) / 2;
    __syncthreads();
    if (place.row + half < height) {
#pragma unroll
      for (int i = 0; i < 2 * V; ++i) sums[i][thread] += sums[i][thread + half * layout.tile];
    }
    height = half;
  }
  if (place.row != 0 || !place.active) return;
  float* out = partials + static_cast<int64_t>(blockIdx.x) * 2 * layout.channels + place.channel;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    out[i] = sums[i][thread];
    out[layout.channels + i] = sums[V + i][thread];
  }
}

constexpr int kFinishColumns = 32, kFinishRows = 16;

struct ColumnFinishShared {
  double value[2][kFinishRows][kFinishColumns];
};

/// Adds up the chunks' partial sums in double, and calls finish(channel, sum a, sum b).
template <typename Finish>
__global__ void __launch_bounds__(kFinishColumns* kFinishRows)
    column_finish(Finish finish, const float* __restrict__ partials, int chunks, int channels) {
  auto& sums = shared<ColumnFinishShared>().value;
  const int column = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const int channel = static_cast<int>(blockIdx.x) * kFinishColumns + column;
  double a = 0, b = 0;
  if (channel < channels) {
#pragma unroll 4
    for (int chunk = row; chunk < chunks; chunk += kFinishRows) {
      const float* part = partials + static_cast<int64_t>(chunk) * 2 * channels + channel;
      a += part[0];
      b += part[channels];
    }
  }
  sums[0][row][column] = a;
  sums[1][row][column] = b;
  for (int half = kFinishRows / 2; half > 0; half /= 2) {
    __syncthreads();
    if (row < half) {
      sums[0][row][column] += sums[0][row + half][column];
      sums[1][row][column] += sums[1][row + half][column];
    }
  }
  if (row == 0 && channel < channels) finish(channel, sums[0][0][column], sums[1][0][column]);
}

/// op.start<V>(channel, V) gives a functor that is called for every pixel; Op::Element is the
/// tensors' storage type. The blocks go from the last pixels to the first: what the pass before
/// read last is still in the cache.
template <int V, typename Op>
__global__ void __launch_bounds__(kThreads) column_map(Op op, ColumnLayout layout) {
  const ColumnPlace place(layout, V);
  if (!place.active) return;
  const auto apply = op.template start<V>(place.channel, V);
  const int64_t chunk = gridDim.x - 1 - blockIdx.x;
  const int64_t begin = chunk * kMapRounds * layout.rows;
  const int64_t limit = begin + kMapRounds * layout.rows;
  const int64_t end = limit < layout.pixels ? limit : layout.pixels;
#pragma unroll 2
  for (int64_t pixel = begin + place.row; pixel < end; pixel += layout.rows) apply(pixel);
}

template <typename Source>
void launch_column_sums(Stream& stream, const ColumnLayout& layout, const Source& source,
                        float* partials) {
  const auto kernel = layout.vectorised ? column_sums<kWidth<typename Source::Element>, Source>
                                        : column_sums<1, Source>;
  launch(stream, kernel, grid_of(layout), kThreads, 0, source, layout, partials);
}

template <typename Finish>
void launch_column_finish(Stream& stream, const ColumnLayout& layout, const Finish& finish,
                          const float* partials) {
  launch(stream, column_finish<Finish>, blocks_for(layout.channels, kFinishColumns),
         dim3(kFinishColumns, kFinishRows), 0, finish, partials, layout.chunks, layout.channels);
}

template <typename Op>
void launch_column_map(Stream& stream, const ColumnLayout& layout, const Op& op) {
  const auto kernel =
      layout.vectorised ? column_map<kWidth<typename Op::Element>, Op> : column_map<1, Op>;
  launch(stream, kernel, grid_of(layout), kThreads, 0, op, layout);
}

}  // namespace macadam::cuda
