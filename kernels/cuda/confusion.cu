// Argmax, shares of probabilities and confusion counts. Floors: argmax size(scores) + 1 byte a
// pixel, shares twice size(sums), counts 2 bytes a pixel.

#include <algorithm>

#include "kernels/confusion.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/pixel_tile.cuh"
#include "kernels/scalar/compare.h"
#include "kernels/scalar/confidence.h"
#include "kernels/scalar/window.h"

namespace macadam::cuda {

namespace {

template <typename T, bool Confident>
__global__ void __launch_bounds__(kTileThreads)
    argmax_kernel(View<const T> scores, bool contiguous, TileLayout layout, View<uint8_t> classes,
                  uint8_t* confidence) {
  T* tile = dynamic_shared<T>();
  const int64_t first = static_cast<int64_t>(blockIdx.x) * layout.tile;
  const int64_t left = layout.pixels - first;
  const int count = left < layout.tile ? static_cast<int>(left) : layout.tile;
  load_tile(scores, contiguous, layout, first, count, tile);
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.x);
  if (thread >= count) return;
  const T* row = tile + thread * layout.row;
  int best = 0;
  float best_score = widen(row[0]);
#pragma unroll 4
  for (int c = 1; c < layout.channels; ++c) {
    const float score = widen(row[c]);
    const bool wins = scalar::score_wins(score, best_score);
    best = wins ? c : best;
    best_score = wins ? score : best_score;
  }
  *classes.at(first + thread, 0) = static_cast<uint8_t>(best);
  if constexpr (Confident) {
    float sum = 0.0f;
    for (int c = 0; c < layout.channels; ++c) {
      sum += scalar::exp_share(widen(row[c]), best_score);
    }
    confidence[first + thread] = scalar::confidence_byte(sum);
  }
}

__global__ void __launch_bounds__(kTileThreads)
    log_shares_kernel(View<float> sums, bool contiguous, TileLayout layout) {
  auto* tile = dynamic_shared<float>();
  const int64_t first = static_cast<int64_t>(blockIdx.x) * layout.tile;
  const int64_t left = layout.pixels - first;
  const int count = left < layout.tile ? static_cast<int>(left) : layout.tile;
  load_tile(View<const float>{sums.data, sums.stride}, contiguous, layout, first, count, tile);
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < count) {
    float* row = tile + thread * layout.row;
    float total = 0.0f;
    for (int c = 0; c < layout.channels; ++c) total += row[c];
    for (int c = 0; c < layout.channels; ++c) row[c] = scalar::log_share(row[c], total);
  }
  __syncthreads();
  store_tile(sums, contiguous, layout, first, count, tile);
}

/// Pixels that a thread counts one after the other. Runs of one label under one prediction, which
/// are long in street scenes, cost one atomic addition.
constexpr int kCountRun = 16;

/// Adds to a histogram in shared memory, if it fits, which is then added to `counts`. `chunks`: the
/// classes follow each other without a gap, and those of a run are aligned.
template <bool Shared>
__global__ void __launch_bounds__(kThreads, kShareBlocksPerProcessor)
    count_kernel(View<const uint8_t> predictions, View<const uint8_t> labels, bool chunks,
                 int64_t pixels, int classes, unsigned long long* counts) {
  auto* histogram = Shared ? dynamic_shared<unsigned>() : nullptr;
  const int cells = classes * classes;
  const int thread = static_cast<int>(threadIdx.x);
  if constexpr (Shared) {
    for (int cell = thread; cell < cells; cell += kThreads) histogram[cell] = 0;
    __syncthreads();
  }
  const auto add = [&](int cell, unsigned run) {
    if (run == 0) return;
    if constexpr (Shared) {
      atomicAdd(histogram + cell, run);
    } else {
      atomicAdd(counts + cell, static_cast<unsigned long long>(run));
    }
  };

  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads * kCountRun;
  for (int64_t first = (static_cast<int64_t>(blockIdx.x) * kThreads + thread) * kCountRun;
       first < pixels; first += stride) {
    const int64_t limit = first + kCountRun;
    const int64_t end = limit < pixels ? limit : pixels;
    int cell = 0;
    unsigned run = 0;
    const auto take = [&](int prediction, int label) {
      if (prediction >= classes || label >= classes) return;
      const int here = label * classes + prediction;
      if (here != cell) {
        add(cell, run);
        cell = here;
        run = 0;
      }
      ++run;
    };
    if (chunks && limit <= pixels) {
      using Run = Chunk<uint8_t, kCountRun>;
      const Run predicted = *reinterpret_cast<const Run*>(predictions.at(first, 0));
      const Run labeled = *reinterpret_cast<const Run*>(labels.at(first, 0));
#pragma unroll
      for (int i = 0; i < kCountRun; ++i) take(predicted.lane[i], labeled.lane[i]);
    } else {
      for (int64_t pixel = first; pixel < end; ++pixel) {
        take(*predictions.at(pixel, 0), *labels.at(pixel, 0));
      }
    }
    add(cell, run);
  }
  if constexpr (Shared) {
    __syncthreads();
    for (int cell = thread; cell < cells; cell += kThreads) {
      const unsigned count = histogram[cell];
      if (count > 0) atomicAdd(counts + cell, static_cast<unsigned long long>(count));
    }
  }
}

class CudaConfusionOps final : public ConfusionOps {
 public:
  explicit CudaConfusionOps(Stream& stream) : stream_(stream) {}

  void argmax(const Tensor& scores, const Tensor& classes, const Tensor& confidence) override {
    require(scores.shape.c <= kMaxClasses, "at most 255 classes");
    require(classes.shape.pixels() == scores.shape.pixels() && classes.shape.c == 1,
            "one class a pixel");
    uint8_t* const sure = confidence.data == nullptr ? nullptr : confidence.as<uint8_t>();
    require(sure == nullptr || (confidence.shape == classes.shape && confidence.dense()),
            "confidence is as the classes");
    const TileLayout layout = tile_layout(scores);
    visit_float(scores.dtype, [&](auto type) {
      using T = decltype(type);
      launch(stream_, sure == nullptr ? argmax_kernel<T, false> : argmax_kernel<T, true>,
             blocks_for(layout.pixels, layout.tile), kTileThreads, tile_bytes(layout, scores.dtype),
             view<const T>(scores), contiguous_tiles(scores, layout), layout,
             view<uint8_t>(classes), sure);
    });
  }

  void log_shares(const Tensor& sums) override {
    require(sums.shape.c <= kMaxClasses && sums.dense(), "at most 255 classes, dense");
    const TileLayout layout = tile_layout(sums);
    launch(stream_, log_shares_kernel, blocks_for(layout.pixels, layout.tile), kTileThreads,
           tile_bytes(layout, DType::f32), view<float>(sums), contiguous_tiles(sums, layout),
           layout);
  }

  void count(const Tensor& predictions, const Tensor& labels, int classes,
             uint64_t* counts) override {
    require(predictions.shape == labels.shape && labels.shape.c == 1, "one label a pixel");
    require(classes >= 1 && classes <= kMaxClasses, "1 to 255 classes");
    static_assert(sizeof(unsigned long long) == sizeof(uint64_t));
    const int64_t pixels = labels.shape.pixels();
    const unsigned blocks =
        std::min(blocks_for(pixels, kThreads * kCountRun), static_cast<unsigned>(kShareBlocks));
    const size_t bytes = sizeof(unsigned) * static_cast<size_t>(classes) * classes;
    const bool shared = bytes <= 48 * 1024;
    const bool chunks = predictions.dense() && starts_aligned(predictions, kCountRun) &&
                        labels.dense() && starts_aligned(labels, kCountRun);
    launch(stream_, shared ? count_kernel<true> : count_kernel<false>, blocks, kThreads,
           shared ? bytes : 0, view<const uint8_t>(predictions), view<const uint8_t>(labels),
           chunks, pixels, classes, reinterpret_cast<unsigned long long*>(counts));
  }

 private:
  Stream& stream_;
};

}  // namespace

std::unique_ptr<ConfusionOps> make_confusion_ops(Stream& stream) {
  return std::make_unique<CudaConfusionOps>(stream);
}

}  // namespace macadam::cuda
