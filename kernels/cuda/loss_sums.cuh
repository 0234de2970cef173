#pragma once
// A loss's sums over a batch.

#include <limits>

#include "kernels/cuda/loss_pixels.cuh"
#include "kernels/cuda/row_sums.cuh"

namespace macadam::cuda {

template <int kRows>
struct SumsShared {
  float log_sum_exp[kTileThreads];
  int label[kTileThreads];
  float sums[kRows][kTileThreads];
};

/// value[0 .. kTileThreads) summed into value[0], in a fixed order, for each row.
template <int kRows>
__device__ void sum_over_block(float (&value)[kRows][kTileThreads]) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int half = kTileThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) {
#pragma unroll
      for (int k = 0; k < kRows; ++k) value[k][thread] += value[k][thread + half];
    }
  }
  __syncthreads();
}
/// Of what a block adds up.
__host__ __device__ inline int row_width(const LossSums& at) {
  return at.counts() + at.pixel_terms();
}

/// Where sums_kernel leaves its sums.
struct SumsTarget {
  double* counts;     // at LossSums::counts(), all 0 before
  double* sums;       // before it
  double* values;     // of pixel terms
  int first_row = 0;  // sums before that number are left as they are
};

/// What sums_kernel takes besides pixel terms.
enum class ClassSums : uint8_t { none, sums, counts };  // counts: and the sums

/// Counts a labelled pixel by its hardness.
__device__ inline void count_hard(const LossDesc& desc, const LossSums& at,
                                  const scalar::PixelScores<float>& pixel, int label,
                                  double* counts) {
  const float p = scalar::exp_below_zero(pixel.log_probability());
  const int bin = scalar::hardness_bin(1 - p);
  if (bin > 0) atomicAdd(counts + scalar::hardness_place(label, bin), 1.0);
  if (!(p >= desc.terms[at.hard_term()].parameters[0])) {
    atomicAdd(counts + scalar::hardness_place(label, scalar::kHardnessBins), 1.0);
  }
}

/// First each thread takes the softmax of a pixel of the tile; then, for sums of classes, each
/// takes a class, and adds up its probabilities over a share of the tile's pixels. rows: one a
/// block, in the order of LossSums without the counts, which are taken in their place itself: whole
/// numbers, of which every order of adding gives the same. kPixelTerms: the most there may be.
template <typename T, int kPixelTerms, ClassSums kClassSums>
__global__ void __launch_bounds__(kTileThreads, kBlocksThatFit)
    sums_kernel(Batch<T> batch, LossDesc desc, LossSums at, RowSums rows, SumsTarget to) {
  constexpr int kOwn = kAllTerms<kPixelTerms> ? kPixelTerms : 0;  // sums of weights
  constexpr int kRows = 2 + kPixelTerms + kOwn;
  constexpr bool kRegions = kClassSums != ClassSums::none;
  auto& memory = shared<SumsShared<kRows>>();
  T* tile = dynamic_shared<T>();
  const TileLayout& layout = batch.layout;
  const int thread = static_cast<int>(threadIdx.x);
  const int classes = layout.channels;
  const int shares = kTileThreads / classes;
  const int share = thread / classes, mine = thread - share * classes;

  float weight_sum = 0, valid = 0;
  float values[kPixelTerms] = {}, own[kPixelTerms] = {};
  float intersection = 0, predicted = 0, labeled = 0;

  for (int64_t first = static_cast<int64_t>(blockIdx.x) * layout.tile; first < layout.pixels;
       first += static_cast<int64_t>(gridDim.x) * layout.tile) {
    const int64_t left = layout.pixels - first;
    const int count = left < layout.tile ? static_cast<int>(left) : layout.tile;
    load_tile(batch.logits, batch.contiguous, layout, first, count, tile);
    __syncthreads();
    if (thread < count) {
      const int label = batch.label(first + thread);
      if (kRegions) {
        memory.label[thread] = label;
        memory.log_sum_exp[thread] = std::numeric_limits<float>::infinity();  // p = 0
      }
      if (label >= 0) {
        const Scores<T> scores{tile + thread * layout.row};
        const float lse = scalar::softmax_stats(scores, classes).log_sum_exp();
        if (kRegions) memory.log_sum_exp[thread] = lse;
        const scalar::PixelScores<float> pixel =
            pixel_scores<kPixelTerms>(batch, desc, at, scores, label, lse);
        const float weight = batch.weight(label);
        weight_sum += weight;
        valid += 1;
#pragma unroll
        for (int k = 0; k < kPixelTerms; ++k) {
          if (k >= at.pixel_terms()) break;
          visit_term<kPixelTerms>(desc.terms[k], [&](const auto& term) {
            const float in_term = weight * term.weight(batch.place(k, first + thread, pixel));
            values[k] += in_term * term.value(pixel);
            if (kOwn > 0) own[k] += in_term;
          });
        }
        if constexpr (kClassSums == ClassSums::counts) {
          if (at.has_hard()) count_hard(desc, at, pixel, label, to.counts + at.error_counts());
        }
      }
    }
    __syncthreads();
    if constexpr (kRegions) {
      if (share < shares) {
#pragma unroll 4
        for (int pixel = share; pixel < count; pixel += shares) {
          const float p = scalar::exp_below_zero(widen(tile[pixel * layout.row + mine]) -
                                                 memory.log_sum_exp[pixel]);
          const bool here = memory.label[pixel] == mine;
          predicted += p;
          intersection += here ? p : 0.0f;
          labeled += here ? 1.0f : 0.0f;
          if constexpr (kClassSums == ClassSums::counts) {
            const bool counts = at.has_errors() && memory.label[pixel] >= 0;
            const int bin = counts ? scalar::error_bin(p, here) : 0;
            if (bin > 0) atomicAdd(to.counts + scalar::error_place(mine, bin, here), 1.0);
          }
        }
      }
      __syncthreads();
    }
  }

  float* out = rows.row(blockIdx.x);
  if constexpr (kRegions) {
    memory.sums[0][thread] = labeled;
    memory.sums[1][thread] = intersection;
    memory.sums[2][thread] = predicted;
    __syncthreads();
    if (thread < classes) {
      float total[3] = {};
      for (int other = thread; other < shares * classes; other += classes) {
#pragma unroll
        for (int k = 0; k < 3; ++k) total[k] += memory.sums[k][other];
      }
      out[at.labeled() + thread] = total[0];
      out[at.intersection() + thread] = total[1];
      out[at.predicted() + thread] = total[2];
    }
    __syncthreads();
  }
  memory.sums[LossSums::kWeights][thread] = weight_sum;
  memory.sums[LossSums::kPixels][thread] = valid;
#pragma unroll
  for (int k = 0; k < kPixelTerms; ++k) {
    memory.sums[2 + k][thread] = values[k];
    if (kOwn > 0) memory.sums[2 + kOwn + k][thread] = own[k];
  }
  sum_over_block(memory.sums);
  if (thread < 2) out[thread] = memory.sums[thread][0];
  if (thread < at.pixel_terms()) {
    out[at.counts() + thread] = memory.sums[2 + thread][0];
    if (kOwn > 0 && at.is_edge_term(thread)) {
      out[at.weights(thread)] = memory.sums[2 + kOwn + thread][0];
    }
  }

  rows.finish<1>(
      blockIdx.x, 0, row_width(at) - to.first_row,
      [&](int i, int) { return int64_t{to.first_row + i}; },
      [&](int i, const double(&total)[1]) {
        const int row = to.first_row + i;
        (row < at.counts() ? to.sums[row] : to.values[row - at.counts()]) = total[0];
      });
}

}  // namespace macadam::cuda
