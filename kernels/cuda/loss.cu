// Softmax cross-entropy with soft Dice. Two launches: sums over the batch, finished by their last
// block, and the gradient. Floor: size(logits) + 1 byte a pixel for the values; with the gradient
// twice that and size(logits) written.

#include <algorithm>
#include <limits>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/pixel_tile.cuh"
#include "kernels/cuda/row_sums.cuh"
#include "kernels/loss.h"
#include "kernels/scalar/dice.h"
#include "kernels/scalar/softmax.h"

namespace macadam::cuda {

namespace {

constexpr int kMostClasses = 64;

/// Blocks of the sums: a block loads, waits, computes, and waits again, so that it takes many on a
/// multiprocessor to keep memory busy.
constexpr int kSumBlocksPerProcessor = 12;
constexpr int kSumBlocks = 132 * kSumBlocksPerProcessor;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int kSumBlocksThatFit = 1024 / kTileThreads;  // a multiprocessor of Turing or Volta
#else
constexpr int kSumBlocksThatFit = kSumBlocksPerProcessor;
#endif

/// Sums of a block or of all: with Dice intersection, predicted and labelled of every class; then
/// cross-entropy, weight and valid pixels.
__host__ __device__ constexpr int sum_count(int classes, bool dice) {
  return (dice ? 3 * classes : 0) + 3;
}

/// What the gradient needs of the sums, times gradient_scale.
struct GradientTerms {
  float ce_scale;                               // ce_weight / sum of weights
  float hit[kMostClasses], miss[kMostClasses];  // of the Dice mean times dice_weight
};

/// What all kernels of a call read.
template <typename T>
struct Batch {
  View<const T> logits;
  View<const uint8_t> labels;
  const float* weights;  // or null
  TileLayout layout;
  bool contiguous;
  int ignore;
  float smoothing;

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

struct SumsShared {
  float log_sum_exp[kTileThreads];
  int label[kTileThreads];
  float sums[3][kTileThreads];
};

/// value[0 .. kTileThreads) summed into value[0], in a fixed order, for each of three rows.
__device__ void sum_over_block(float (&value)[3][kTileThreads]) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int half = kTileThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) {
#pragma unroll
      for (int k = 0; k < 3; ++k) value[k][thread] += value[k][thread + half];
    }
  }
  __syncthreads();
}

struct FinishShared {
  double sum[sum_count(kMostClasses, true)];
  float dice[kMostClasses];
};

/// From the sums of all blocks to the values and the gradient's terms. Call with all threads of a
/// block, which wrote `memory.sum` and waited.
template <bool kDice>
__device__ void finish_loss(const LossDesc& desc, int classes, FinishShared& memory,
                            LossValues* values, GradientTerms* terms) {
  const int thread = static_cast<int>(threadIdx.x);
  const double* intersection = memory.sum;
  const double* predicted = memory.sum + classes;
  const double* labelled = memory.sum + 2 * classes;
  const double* others = memory.sum + sum_count(classes, kDice) - 3;
  const double ce_sum = others[0], weight_sum = others[1], valid = others[2];
  const float gradient_scale = desc.gradient_scale == nullptr ? 1.0f : *desc.gradient_scale;
  if (kDice) {
    int counted = 0;  // classes that the Dice mean is over
    for (int c = 0; c < classes; ++c) {
      counted += labelled[c] > 0 || desc.absent != AbsentClass::skip ? 1 : 0;
    }
    if (thread < classes) {
      scalar::DiceTerm term{0, 0, 0};
      if (valid > 0 && (labelled[thread] > 0 || desc.absent == AbsentClass::suppress)) {
        term = scalar::dice_term(intersection[thread], predicted[thread], labelled[thread],
                                 static_cast<double>(desc.dice_smooth));
        const float share_of_mean = 1.0f / static_cast<float>(counted);
        term.loss *= share_of_mean;
        term.hit *= share_of_mean * desc.dice_weight;
        term.miss *= share_of_mean * desc.dice_weight;
      }
      memory.dice[thread] = term.loss;
      terms->hit[thread] = term.hit * gradient_scale;
      terms->miss[thread] = term.miss * gradient_scale;
    }
    __syncthreads();
  }
  if (thread != 0) return;
  const bool weighted = weight_sum > 0;
  const float ce_scale =
      weighted ? static_cast<float>(static_cast<double>(desc.ce_weight) / weight_sum) : 0.0f;
  terms->ce_scale = ce_scale * gradient_scale;
  LossValues result;
  result.ce = weighted ? static_cast<float>(ce_sum / weight_sum) : 0.0f;
  for (int c = 0; kDice && c < classes; ++c) result.dice += memory.dice[c];
  result.total = desc.ce_weight * result.ce + desc.dice_weight * result.dice;
  result.valid_pixels = static_cast<float>(valid);
  *values = result;
}

/// First each thread takes the softmax of a pixel of the tile; then, for Dice, each takes a class,
/// and adds up its probabilities over a share of the tile's pixels. rows: one a block.
template <typename T, bool kDice>
__global__ void __launch_bounds__(kTileThreads, kSumBlocksThatFit)
    sums_kernel(Batch<T> batch, LossDesc desc, RowSums rows, LossValues* values,
                GradientTerms* terms) {
  auto& memory = shared<SumsShared>();
  T* tile = dynamic_shared<T>();
  const TileLayout& layout = batch.layout;
  const int thread = static_cast<int>(threadIdx.x);
  const int classes = layout.channels;
  const int shares = kTileThreads / classes;
  const int share = thread / classes, mine = thread - share * classes;

  float ce = 0, weight_sum = 0, valid = 0;
  float intersection = 0, predicted = 0, labelled = 0;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * layout.tile; first < layout.pixels;
       first += static_cast<int64_t>(gridDim.x) * layout.tile) {
    const int64_t left = layout.pixels - first;
    const int count = left < layout.tile ? static_cast<int>(left) : layout.tile;
    load_tile(batch.logits, batch.contiguous, layout, first, count, tile);
    __syncthreads();
    if (thread < count) {
      const int label = batch.label(first + thread);
      if (kDice) {
        memory.label[thread] = label;
        memory.log_sum_exp[thread] = std::numeric_limits<float>::infinity();  // p = 0
      }
      if (label >= 0) {
        const Scores<T> scores{tile + thread * layout.row};
        const float lse = scalar::softmax_stats(scores, classes).log_sum_exp();
        float score_sum = 0;
        if (batch.smoothing > 0) {
          for (int c = 0; c < classes; ++c) score_sum += scores(c);
        }
        const float weight = batch.weight(label);
        ce +=
            weight * scalar::cross_entropy(lse, scores(label), score_sum, batch.smoothing, classes);
        weight_sum += weight;
        valid += 1;
        if (kDice) memory.log_sum_exp[thread] = lse;
      }
    }
    __syncthreads();
    if constexpr (kDice) {
      if (share < shares) {
#pragma unroll 4
        for (int pixel = share; pixel < count; pixel += shares) {
          const float p = scalar::exp_below_zero(widen(tile[pixel * layout.row + mine]) -
                                                 memory.log_sum_exp[pixel]);
          const bool here = memory.label[pixel] == mine;
          predicted += p;
          intersection += here ? p : 0.0f;
          labelled += here ? 1.0f : 0.0f;
        }
      }
      __syncthreads();
    }
  }

  float* out = rows.row(blockIdx.x);
  if constexpr (kDice) {
    memory.sums[0][thread] = intersection;
    memory.sums[1][thread] = predicted;
    memory.sums[2][thread] = labelled;
    __syncthreads();
    if (thread < classes) {
      float total[3] = {};
      for (int other = thread; other < shares * classes; other += classes) {
#pragma unroll
        for (int k = 0; k < 3; ++k) total[k] += memory.sums[k][other];
      }
#pragma unroll
      for (int k = 0; k < 3; ++k) out[k * classes + thread] = total[k];
    }
    __syncthreads();
  }
  memory.sums[0][thread] = ce;
  memory.sums[1][thread] = weight_sum;
  memory.sums[2][thread] = valid;
  sum_over_block(memory.sums);
  const int sums = sum_count(classes, kDice);
  if (thread < 3) out[sums - 3 + thread] = memory.sums[thread][0];

  auto& all = shared<FinishShared>();
  const bool last = rows.finish<1>(
      blockIdx.x, 0, sums, [](int i, int) { return int64_t{i}; },
      [&](int i, const double(&total)[1]) { all.sum[i] = total[0]; });
  if (!last) return;
  __syncthreads();
  finish_loss<kDice>(desc, classes, all, values, terms);
}

/// A thread turns its pixel's logits into their gradient, in place in the tile.
template <typename T>
__global__ void __launch_bounds__(kTileThreads)
    gradient_kernel(Batch<T> batch, const GradientTerms* __restrict__ from, bool has_dice,
                    View<T> d_logits, bool contiguous_out) {
  auto& terms = shared<GradientTerms>();
  T* tile = dynamic_shared<T>();
  const TileLayout& layout = batch.layout;
  const int thread = static_cast<int>(threadIdx.x);
  const int classes = layout.channels;
  if (has_dice && thread < classes) {
    terms.hit[thread] = from->hit[thread];
    terms.miss[thread] = from->miss[thread];
  }
  if (thread == 0) terms.ce_scale = from->ce_scale;

  const int64_t first = static_cast<int64_t>(blockIdx.x) * layout.tile;
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
            if (has_dice) dot += e * (c == label ? terms.hit[c] : terms.miss[c]);
          });
      const float lse = stats.log_sum_exp();
      dot /= stats.sum;
      const float scale = terms.ce_scale * batch.weight(label);
      for (int c = 0; c < classes; ++c) {
        const float p = scalar::exp_below_zero(scores(c) - lse);
        float d = scale * scalar::cross_entropy_gradient(p, c == label, batch.smoothing, classes);
        if (has_dice) d += p * ((c == label ? terms.hit[c] : terms.miss[c]) - dot);
        row[c] = narrow<T>(d);
      }
    }
  }
  __syncthreads();
  store_tile(d_logits, contiguous_out, layout, first, count, tile);
}

class CudaLossOps final : public LossOps {
 public:
  explicit CudaLossOps(Stream& stream) : stream_(stream) {}

  size_t workspace_bytes(Shape logits) const override {
    return kTermsBytes + RowSums::bytes(kSumBlocks, sum_count(logits.c, true));
  }

  void segmentation(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                    const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
                    void* workspace) override {
    const int classes = logits.shape.c;
    require(classes >= 1 && classes <= kMostClasses, "1 to 64 classes");
    require(labels.shape.pixels() == logits.shape.pixels() && labels.shape.c == 1,
            "one label a pixel");
    auto* terms = static_cast<GradientTerms*>(workspace);
    void* partials = static_cast<std::byte*>(workspace) + kTermsBytes;
    const bool dice = desc.dice_weight != 0;
    const TileLayout layout = tile_layout(logits);
    const size_t shared_bytes = tile_bytes(layout, logits.dtype);
    const unsigned blocks =
        std::min(blocks_for(layout.pixels, layout.tile), static_cast<unsigned>(kSumBlocks));
    const RowSums rows(stream_, partials, static_cast<int>(blocks), sum_count(classes, dice));
    visit_float(logits.dtype, [&](auto type) {
      using T = decltype(type);
      const Batch<T> batch{view<const T>(logits),
                           view<const uint8_t>(labels),
                           class_weights.data ? class_weights.as<float>() : nullptr,
                           layout,
                           contiguous_tiles(logits, layout),
                           desc.ignore,
                           desc.label_smoothing};
      launch(stream_, dice ? sums_kernel<T, true> : sums_kernel<T, false>, blocks, kTileThreads,
             shared_bytes, batch, desc, rows, values, terms);
      if (d_logits.data == nullptr) return;
      require(d_logits.shape == logits.shape, "the gradient has the logits' shape");
      launch(stream_, gradient_kernel<T>, blocks_for(layout.pixels, layout.tile), kTileThreads,
             shared_bytes, batch, terms, dice, view<T>(d_logits),
             contiguous_tiles(d_logits, layout));
    });
  }

 private:
  /// Keeps what lies behind the terms aligned.
  static constexpr size_t kTermsBytes = (sizeof(GradientTerms) + 15) / 16 * 16;

  Stream& stream_;
};

}  // namespace

std::unique_ptr<LossOps> make_loss_ops(Stream& stream) {
  return std::make_unique<CudaLossOps>(stream);
}

}  // namespace macadam::cuda
