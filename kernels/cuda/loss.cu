// Losses. Two launches: sums over the batch, finished by their last block, and the gradient, each
// block of which finishes the terms from them. Floor: size(logits) + 1 byte a pixel for the values;
// with the gradient twice that and size(logits) written.

#include <algorithm>
#include <limits>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/pixel_tile.cuh"
#include "kernels/cuda/row_sums.cuh"
#include "kernels/loss.h"
#include "kernels/scalar/softmax.h"

namespace macadam::cuda {

namespace {

/// Blocks that take tile after tile: one loads, waits, computes, and waits again, so that it takes
/// many on a multiprocessor to keep memory busy.
constexpr int kBlocksPerProcessor = 12;
constexpr int kBlocks = 132 * kBlocksPerProcessor;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int kBlocksThatFit = 1024 / kTileThreads;  // a multiprocessor of Turing or Volta
#else
constexpr int kBlocksThatFit = kBlocksPerProcessor;
#endif

/// What all kernels of a call read.
template <typename T>
struct Batch {
  View<const T> logits;
  View<const uint8_t> labels;
  const float* weights;  // or null
  TileLayout layout;
  bool contiguous;
  int ignore;
  bool score_sum;  // whether a pixel term reads it

  /// The label of a pixel, -1 where it does not count.
  __device__ int label(int64_t pixel) const {
    const int label = *labels.at(pixel, 0);
    return label == ignore || label >= layout.channels ? -1 : label;
  }
  __device__ float weight(int label) const { return weights == nullptr ? 1.0f : weights[label]; }
};

/// One pixel's logits, read from the tile.
template <typename T>
struct Scores {
  const T* row;

  __device__ float operator()(int c) const { return widen(row[c]); }
};

/// What pixel terms see of a pixel with this label.
template <typename T>
__device__ scalar::PixelScores<float> pixel_scores(const Batch<T>& batch, const Scores<T>& scores,
                                                   int label, float log_sum_exp) {
  float sum = 0;
  if (batch.score_sum) {
    for (int c = 0; c < batch.layout.channels; ++c) sum += scores(c);
  }
  return {log_sum_exp, scores(label), sum, batch.layout.channels};
}

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

/// What the gradient needs of the sums, times gradient_scale.
struct Finished {
  float scale[kMaxLossTerms];                         // of pixel terms: weight / sum of weights
  float hit[kMaxLossClasses], miss[kMaxLossClasses];  // of all region terms
  float loss[kMaxLossTerms][kMaxLossClasses];         // of region terms, its share of the mean
};

/// The terms from the sums over the batch. Call with all threads of a block, and wait; values: or
/// null.
__device__ void finish_terms(const LossDesc& desc, const LossSums& at, int classes,
                             const double* __restrict__ sums, Finished& to, LossValues* values) {
  const int thread = static_cast<int>(threadIdx.x);
  const double weight_sum = sums[LossSums::kWeights], valid = sums[LossSums::kPixels];
  const float gradient_scale = desc.gradient_scale == nullptr ? 1.0f : *desc.gradient_scale;
  if (at.has_regions() && thread < classes) {
    const double* const labeled = sums + at.labeled();
    int over = 0;  // classes of the mean
    for (int c = 0; c < classes; ++c) over += is_in_mean(desc.absent, labeled[c]) ? 1 : 0;
    const bool counts = valid > 0 && has_loss(desc.absent, labeled[thread]);
    const float share_of_mean = 1.0f / static_cast<float>(over);
    float hit = 0, miss = 0;
#pragma unroll
    for (int k = 0; k < kMaxLossTerms; ++k) {
      float loss = 0;
      if (counts) {
        scalar::visit_region_term(desc.terms[k], [&](const auto& term) {
          const scalar::RegionLoss result = term(
              {sums[at.intersection() + thread], sums[at.predicted() + thread], labeled[thread]});
          const float share = share_of_mean * desc.terms[k].weight;
          loss = static_cast<float>(result.loss) * share_of_mean;
          hit += static_cast<float>(result.hit) * share;
          miss += static_cast<float>(result.miss) * share;
        });
      }
      to.loss[k][thread] = loss;
    }
    to.hit[thread] = hit * gradient_scale;
    to.miss[thread] = miss * gradient_scale;
  }
  if (thread == 0) {
#pragma unroll
    for (int k = 0; k < kMaxLossTerms; ++k) {
      const auto weight = static_cast<double>(desc.terms[k].weight);
      to.scale[k] =
          weight_sum > 0 ? static_cast<float>(weight / weight_sum) * gradient_scale : 0.0f;
    }
  }
  if (values == nullptr) return;
  __syncthreads();
  if (thread != 0) return;
  LossValues result;
#pragma unroll
  for (int k = 0; k < kMaxLossTerms; ++k) {
    if (k < at.pixel_terms()) {
      if (weight_sum > 0) result.terms[k] = static_cast<float>(sums[at.pixel_term(k)] / weight_sum);
    } else if (desc.terms[k].weight != 0) {
      for (int c = 0; c < classes; ++c) result.terms[k] += to.loss[k][c];
    }
    result.total += desc.terms[k].weight * result.terms[k];
  }
  result.valid_pixels = static_cast<float>(valid);
  *values = result;
}

/// First each thread takes the softmax of a pixel of the tile; then, for region terms, each takes a
/// class, and adds up its probabilities over a share of the tile's pixels. rows: one a block, in
/// the order of LossSums. kPixelTerms: the most there may be.
template <typename T, int kPixelTerms, bool kRegions>
__global__ void __launch_bounds__(kTileThreads, kBlocksThatFit)
    sums_kernel(Batch<T> batch, LossDesc desc, LossSums at, RowSums rows, double* sums) {
  constexpr int kRows = 2 + kPixelTerms;
  auto& memory = shared<SumsShared<kRows>>();
  T* tile = dynamic_shared<T>();
  const TileLayout& layout = batch.layout;
  const int thread = static_cast<int>(threadIdx.x);
  const int classes = layout.channels;
  const int shares = kTileThreads / classes;
  const int share = thread / classes, mine = thread - share * classes;

  float weight_sum = 0, valid = 0;
  float values[kPixelTerms] = {};
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
        const scalar::PixelScores<float> pixel = pixel_scores(batch, scores, label, lse);
        const float weight = batch.weight(label);
        weight_sum += weight;
        valid += 1;
#pragma unroll
        for (int k = 0; k < kPixelTerms; ++k) {
          if (k >= at.pixel_terms()) break;
          scalar::visit_pixel_term<float>(
              desc.terms[k], [&](const auto& term) { values[k] += weight * term.value(pixel); });
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
  for (int k = 0; k < kPixelTerms; ++k) memory.sums[2 + k][thread] = values[k];
  sum_over_block(memory.sums);
  if (thread < 2) out[thread] = memory.sums[thread][0];
  if (thread < at.pixel_terms()) out[at.pixel_term(thread)] = memory.sums[2 + thread][0];

  rows.finish<1>(
      blockIdx.x, 0, at.count(), [](int i, int) { return int64_t{i}; },
      [&](int i, const double(&total)[1]) { sums[i] = total[0]; });
}

/// The values alone, in one block.
__global__ void __launch_bounds__(kTileThreads)
    values_kernel(LossDesc desc, LossSums at, int classes, const double* __restrict__ sums,
                  LossValues* values) {
  finish_terms(desc, at, classes, sums, shared<Finished>(), values);
}

/// A thread turns its pixel's logits into their gradient, in place in the tile.
template <typename T, int kPixelTerms>
__global__ void __launch_bounds__(kTileThreads, kBlocksThatFit)
    gradient_kernel(Batch<T> batch, LossDesc desc, LossSums at, const double* __restrict__ sums,
                    View<T> d_logits, bool contiguous_out, LossValues* values) {
  auto& terms = shared<Finished>();
  T* tile = dynamic_shared<T>();
  const TileLayout& layout = batch.layout;
  const int thread = static_cast<int>(threadIdx.x);
  const int classes = layout.channels;
  finish_terms(desc, at, classes, sums, terms, blockIdx.x == 0 ? values : nullptr);
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * layout.tile; first < layout.pixels;
       first += static_cast<int64_t>(gridDim.x) * layout.tile) {
    const int64_t left = layout.pixels - first;
    const int count = left < layout.tile ? static_cast<int>(left) : layout.tile;
    load_tile(batch.logits, batch.contiguous, layout, first, count, tile);
    __syncthreads();
    if (thread < count) {
      T* row = tile + thread * layout.row;
      const int label = batch.label(first + thread);
      if (label < 0) {
        for (int c = 0; c < classes; ++c) row[c] = narrow<T>(0.0f);
      } else {
        const Scores<T> scores{row};
        // Back through softmax, a derivative q_c by p_c becomes p_c * (q_c - sum_k p_k q_k).
        float dot = 0;
        const scalar::SoftmaxStats stats =
            scalar::softmax_stats(scores, classes, [&](int c, float e) {
              if (at.has_regions()) dot += e * (c == label ? terms.hit[c] : terms.miss[c]);
            });
        const float lse = stats.log_sum_exp();
        dot /= stats.sum;
        const scalar::PixelScores<float> pixel{lse, scores(label), 0.0f, classes};
        float slope[kPixelTerms] = {}, smoothing[kPixelTerms] = {};
#pragma unroll
        for (int k = 0; k < kPixelTerms; ++k) {
          if (k >= at.pixel_terms()) break;
          scalar::visit_pixel_term<float>(desc.terms[k], [&](const auto& term) {
            slope[k] = terms.scale[k] * batch.weight(label) * term.slope(pixel);
            smoothing[k] = term.label_smoothing();
          });
        }
        for (int c = 0; c < classes; ++c) {
          const float p = scalar::exp_below_zero(scores(c) - lse);
          float d = 0;
#pragma unroll
          for (int k = 0; k < kPixelTerms; ++k) {
            d += slope[k] * scalar::label_gradient(p, c == label, smoothing[k], classes);
          }
          if (at.has_regions()) d += p * ((c == label ? terms.hit[c] : terms.miss[c]) - dot);
          row[c] = narrow<T>(d);
        }
      }
    }
    __syncthreads();
    store_tile(d_logits, contiguous_out, layout, first, count, tile);
    __syncthreads();
  }
}

bool reads_score_sum(const LossDesc& desc) {
  bool reads = false;
  for (const LossTerm& used : desc.used()) {
    scalar::visit_pixel_term<float>(
        used, [&](const auto& term) { reads = reads || term.label_smoothing() != 0; });
  }
  return reads;
}

class CudaLossOps final : public LossOps {
 public:
  explicit CudaLossOps(Stream& stream) : stream_(stream) {}

  size_t workspace_bytes(Shape logits) const override {
    const size_t sums = LossSums::bytes(logits.c);
    return sums + RowSums::bytes(kBlocks, static_cast<int64_t>(sums / sizeof(double)));
  }

  void sums(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
            const Tensor& class_weights, void* workspace) override {
    check_loss(desc, logits, labels);
    const LossSums at(desc, logits.shape.c);
    const TileLayout layout = tile_layout(logits);
    const unsigned blocks = blocks_of(layout);
    void* const partials = static_cast<std::byte*>(workspace) + LossSums::bytes(logits.shape.c);
    const RowSums rows(stream_, partials, static_cast<int>(blocks), at.count());
    visit_float(logits.dtype, [&](auto type) {
      using T = decltype(type);
      const auto kernel =
          at.pixel_terms() <= 1
              ? (at.has_regions() ? sums_kernel<T, 1, true> : sums_kernel<T, 1, false>)
              : (at.has_regions() ? sums_kernel<T, kMaxPixelTerms, true>
                                  : sums_kernel<T, kMaxPixelTerms, false>);
      launch(stream_, kernel, blocks, kTileThreads, tile_bytes(layout, logits.dtype),
             batch_of<T>(desc, logits, labels, class_weights, layout), desc, at, rows,
             static_cast<double*>(workspace));
    });
  }

  void gradient(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
                void* workspace) override {
    check_loss(desc, logits, labels);
    const LossSums at(desc, logits.shape.c);
    const auto* const sums = static_cast<const double*>(workspace);
    if (d_logits.data == nullptr) {
      launch(stream_, values_kernel, 1, kTileThreads, 0, desc, at, logits.shape.c, sums, values);
      return;
    }
    require(d_logits.shape == logits.shape, "the gradient has the logits' shape");
    const TileLayout layout = tile_layout(logits);
    visit_float(logits.dtype, [&](auto type) {
      using T = decltype(type);
      launch(stream_,
             at.pixel_terms() <= 1 ? gradient_kernel<T, 1> : gradient_kernel<T, kMaxPixelTerms>,
             blocks_of(layout), kTileThreads, tile_bytes(layout, logits.dtype),
             batch_of<T>(desc, logits, labels, class_weights, layout), desc, at, sums,
             view<T>(d_logits), contiguous_tiles(d_logits, layout), values);
    });
  }

 private:
  static unsigned blocks_of(const TileLayout& layout) {
    return std::min(blocks_for(layout.pixels, layout.tile), static_cast<unsigned>(kBlocks));
  }

  template <typename T>
  static Batch<T> batch_of(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                           const Tensor& class_weights, const TileLayout& layout) {
    return {view<const T>(logits),
            view<const uint8_t>(labels),
            class_weights.data ? class_weights.as<float>() : nullptr,
            layout,
            contiguous_tiles(logits, layout),
            desc.ignore,
            reads_score_sum(desc)};
  }

  Stream& stream_;
};

}  // namespace

std::unique_ptr<LossOps> make_loss_ops(Stream& stream) {
  return std::make_unique<CudaLossOps>(stream);
}

}  // namespace macadam::cuda
