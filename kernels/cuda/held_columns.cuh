#pragma once
// Sums down the columns of a matrix of pixels x channels and a map that needs them, in one launch:
// a block, or a cluster of blocks, owns a few channels and holds all their pixels in registers
// between the two, so that memory is read once. For matrices whose channels fit (held_layout()).

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/columns.cuh"

namespace macadam::cuda {

/// Threads of a block; vectors of channels beside each other that it owns, which are 32 bytes, a
/// sector of the caches; pixels that a thread holds. On sm_90 a block of two held tensors fills the
/// registers of a multiprocessor.
constexpr int kHeldThreads = 256;
constexpr int kHeldVectors = 2;
constexpr int kHeldPixels = 16;
constexpr int kHeldRows = kHeldThreads / kHeldVectors;

/// How a matrix is shared out: `blocks` of a cluster take turns at its pixels.
struct HeldLayout {
  int pixels = 0, channels = 0;
  int blocks = 1;    // of a cluster
  int clusters = 0;  // each owns kHeldVectors vectors of channels
};

/// The layout, a function of the shape and of whether there are clusters, or 0 clusters where the
/// matrix does not fit. As many blocks as the pixels need and then more, up to one a
/// multiprocessor (132 on an H100 or H200). Three waves of such blocks at most: memory idles at the
/// barriers of each, and so many bytes pay for two launches.
inline HeldLayout held_layout(const ColumnLayout& matrix, int width, bool clusters) {
  constexpr int kProcessors = kShareBlocks / kShareBlocksPerProcessor;
  constexpr int kBlockPixels = kHeldRows * kHeldPixels;
  const int most = clusters ? kMostClusterBlocks : 1;
  HeldLayout layout;
  if (!matrix.vectorized || matrix.pixels > int64_t{most} * kBlockPixels) return layout;
  layout.pixels = static_cast<int>(matrix.pixels);
  layout.channels = matrix.channels;
  const int owners = static_cast<int>(blocks_for(matrix.channels, int64_t{width} * kHeldVectors));
  while (layout.blocks * kBlockPixels < layout.pixels) layout.blocks *= 2;
  if (owners * layout.blocks > 3 * kProcessors) return layout;
  while (2 * layout.blocks <= most && 2 * layout.blocks * owners <= kProcessors &&
         layout.blocks * kHeldRows < layout.pixels) {
    layout.blocks *= 2;
  }
  layout.clusters = owners;
  return layout;
}

template <int N>
struct HeldSumsShared {
  float warp[kHeldThreads / 32][kHeldVectors][N];
  double block[kHeldVectors][N];
};

/// Adds up the N values of the lanes that own the same channels, those kHeldVectors apart: halves
/// of the values go each to a half of the lanes, as long as there are several. In the end value
/// held_value(lane) of the sums is values[0].
template <int N>
__device__ __forceinline__ void add_lanes(float (&values)[N]) {
  constexpr unsigned kAllLanes = 0xffffffffu;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int left = N;
#pragma unroll
  for (int bit = kHeldVectors; bit < 32; bit *= 2) {
    const bool upper = (lane & bit) != 0;
    if (left > 1) {
      left /= 2;
#pragma unroll
      for (int i = 0; i < N / 2; ++i) {
        if (i >= left) continue;
        const float given = upper ? values[i] : values[i + left];
        const float kept = upper ? values[i + left] : values[i];
        values[i] = kept + __shfl_xor_sync(kAllLanes, given, bit);
      }
    } else {
      values[0] += __shfl_xor_sync(kAllLanes, values[0], bit);
    }
  }
}

/// Has the compiler keep the values themselves and nothing that it has made of them, of 16-bit
/// values in fp32 twice as many registers; nor does it load more before.
template <typename Kept>
__device__ __forceinline__ void keep_as_stored(Kept& kept) {
#if defined(__CUDA_ARCH__)
  static_assert(sizeof(Kept) % sizeof(uint32_t) == 0);
  uint32_t words[sizeof(Kept) / sizeof(uint32_t)];
  memcpy(words, &kept, sizeof(Kept));
#pragma unroll
  for (uint32_t& word : words) asm volatile("" : "+r"(word) : : "memory");
  memcpy(&kept, words, sizeof(Kept));
#else
  static_cast<void>(kept);
#endif
}

/// Which of the N sums a lane has in the end.
template <int N>
__device__ __forceinline__ int held_value(int lane) {
  int value = 0;
  for (int bit = kHeldVectors, left = N / 2; left > 0; bit *= 2, left /= 2) {
    if ((lane & bit) != 0) value += left;
  }
  return value;
}

/// A map that reads more than what is held says how many pixels it completes at once, and what its
/// registers allow.
template <typename Map>
concept MapThatReads = requires {
  Map::kHeldTogether + Map::kHeldBlocksPerProcessor;
};

template <typename Source, typename Map>
constexpr int held_blocks() {
  if constexpr (MapThatReads<Map>) {
    return std::min(Source::kHeldBlocksPerProcessor, Map::kHeldBlocksPerProcessor);
  }
  return Source::kHeldBlocksPerProcessor;
}

/// `Source` as column_sums() has it, whose Work also has keep(held, kept): Source::Kept<V> is what
/// stays of a pixel in registers. Source::kHeldTogether pixels are fetched at once, and
/// Source::kHeldBlocksPerProcessor is what the registers allow. `Map` as
/// column_map() has it, whose Work makes a Held of it: complete(pixel, kept). finish(channel, sums)
/// is called once a channel between the two, and what it writes is seen by map.start(). A thread's
/// pixels, the rows of a warp, the warps and the blocks are added in this order, from the warps on
/// in double.
template <int V, typename Source, typename Finish, typename Map>
__global__ void __launch_bounds__(kHeldThreads, held_blocks<Source, Map>())
    held_columns(Source source, Finish finish, Map map, HeldLayout layout) {
  constexpr int K = Source::kSums, N = K * V;
  using Sums = HeldSumsShared<N>;
  using Kept = typename Source::template Kept<V>;
  const int thread = static_cast<int>(threadIdx.x);
  const int vector = thread % kHeldVectors, row = thread / kHeldVectors;
  const int rank = layout.blocks > 1 ? cluster_rank() : 0;
  const int first = static_cast<int>(blockIdx.x) / layout.blocks * kHeldVectors * V;
  const int channel = first + vector * V;
  const bool active = channel < layout.channels;
  const int begin = rank * kHeldRows + row, step = layout.blocks * kHeldRows;

  Kept kept[kHeldPixels];
  float sums[K][V] = {};
  if (active) {
    constexpr int kTogether = Source::kHeldTogether;
    const auto work = source.template start<V>(channel);
#pragma unroll
    for (int k = 0; k < kHeldPixels; k += kTogether) {
      typename Source::template Held<V> held[kTogether];
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int pixel = begin + (k + i) * step;
        if (pixel < layout.pixels) work.fetch(pixel, held[i]);
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int pixel = begin + (k + i) * step;
        if (pixel < layout.pixels) {
          work.take(pixel, held[i], sums);
          work.keep(held[i], kept[k + i]);
          keep_as_stored(kept[k + i]);
        }
      }
    }
  }

  float values[N];
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = sums[i / V][i % V];
  add_lanes(values);
  Sums& shared_sums = shared<Sums>();
  const int lane = thread % 32;
  shared_sums.warp[thread / 32][vector][held_value<N>(lane)] = values[0];
  __syncthreads();
  if (thread < kHeldVectors * N) {
    double sum = 0;
#pragma unroll
    for (int warp = 0; warp < kHeldThreads / 32; ++warp) {
      sum += static_cast<double>(shared_sums.warp[warp][thread / N][thread % N]);
    }
    shared_sums.block[thread / N][thread % N] = sum;
  }
  const auto wait = [&] {
    if (layout.blocks > 1) {
      cluster_barrier();
    } else {
      __syncthreads();
    }
  };
  wait();
  if (rank == 0 && thread < kHeldVectors * V && first + thread < layout.channels) {
    double total[K] = {};
    for (int block = 0; block < layout.blocks; ++block) {
      const Sums& part = layout.blocks > 1 ? shared_of<Sums>(block) : shared_sums;
#pragma unroll
      for (int k = 0; k < K; ++k) total[k] += part.block[thread / V][k * V + thread % V];
    }
    finish(first + thread, total);
  }
  wait();
  if (!active) return;
  const auto work = map.template start<V>(channel);
  if constexpr (MapThatReads<Map>) {
    // What is read is under way before anything is written, behind which no load may be moved.
    constexpr int kTogether = Map::kHeldTogether;
#pragma unroll
    for (int k = 0; k < kHeldPixels; k += kTogether) {
      typename Map::template Held<V> held[kTogether];
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int pixel = begin + (k + i) * step;
        if (pixel < layout.pixels) held[i] = work.complete(pixel, kept[k + i]);
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int pixel = begin + (k + i) * step;
        if (pixel < layout.pixels) work.take(pixel, held[i]);
      }
    }
  } else {
#pragma unroll
    for (int k = 0; k < kHeldPixels; ++k) {
      const int pixel = begin + k * step;
      if (pixel < layout.pixels) work.take(pixel, work.complete(pixel, kept[k]));
    }
  }
}

template <typename Source, typename Finish, typename Map>
void launch_held(Stream& stream, const HeldLayout& layout, const Source& source,
                 const Finish& finish, const Map& map) {
  const auto kernel = held_columns<kWidth<typename Source::Element>, Source, Finish, Map>;
  const dim3 grid(static_cast<unsigned>(layout.clusters * layout.blocks));
  if (layout.blocks > 1) {
    launch_clusters(stream, kernel, grid, kHeldThreads, layout.blocks, source, finish, map, layout);
  } else {
    launch(stream, kernel, grid, kHeldThreads, 0, source, finish, map, layout);
  }
}

}  // namespace macadam::cuda
