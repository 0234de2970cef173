// Argmax over classes, shares of probabilities and confusion counts on the CPU.

#include <algorithm>
#include <array>
#include <memory>

#include "base/round_up.h"
#include "base/to_size.h"
#include "kernels/cpu/argmax.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scalar/window.h"

namespace macadam::cpu {

namespace {

/// Pixels counted before a task adds its own table to the shared one.
constexpr int64_t kCountedPixels = 1 << 16;
constexpr int kSmallTable = 32;

/// A table of a task's own for up to kSmallTable classes. Neighbouring pixels mostly fall into the
/// same cell, so that four tables in turn keep an increment from waiting for the one before it.
void count_small(const uint8_t* predictions, const uint8_t* labels, int64_t pixels, int classes,
                 uint64_t* counts) {
  std::array<std::array<uint32_t, kSmallTable * kSmallTable>, 4> tables{};
  for (int64_t p = 0; p < pixels; ++p) {
    if (labels[p] >= classes || predictions[p] >= classes) continue;
    ++tables[to_size(p & 3)][static_cast<size_t>(labels[p]) * kSmallTable + predictions[p]];
  }
  for (int label = 0; label < classes; ++label) {
    for (int prediction = 0; prediction < classes; ++prediction) {
      const auto cell = to_size(label) * kSmallTable + to_size(prediction);
      const uint64_t sum =
          uint64_t{tables[0][cell]} + tables[1][cell] + tables[2][cell] + tables[3][cell];
      if (sum == 0) continue;
#pragma omp atomic
      counts[label * classes + prediction] += sum;
    }
  }
}

void count_large(const uint8_t* predictions, const uint8_t* labels, int64_t pixels, int classes,
                 uint64_t* counts) {
  for (int64_t p = 0; p < pixels; ++p) {
    if (labels[p] >= classes || predictions[p] >= classes) continue;
#pragma omp atomic
    ++counts[labels[p] * classes + predictions[p]];
  }
}

/// Of up to kBlockPixels pixels.
void log_shares_block(float* sums, int pixels, int classes) {
  alignas(64) ClassRow rows[kMaxClasses];
  alignas(64) ClassRow total{};
  to_class_major(sums, classes, pixels, classes, rows);
  for (int c = 0; c < classes; ++c) {
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) total[p] += rows[c][p];
  }
  for (int c = 0; c < classes; ++c) {
    float* const row = rows[c];
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) row[p] = scalar::log_share(row[p], total[p]);
  }
  from_class_major(rows, pixels, classes, sums, classes);
}

class CpuConfusionOps final : public ConfusionOps {
 public:
  void argmax(const Tensor& scores, const Tensor& classes, const Tensor& confidence) override {
    require(classes.shape.c == 1 && classes.shape.pixels() == scores.shape.pixels(),
            "argmax: one class a pixel");
    require(scores.shape.c <= kMaxClasses && classes.dense(),
            "argmax: at most 255 classes, dense result");
    uint8_t* const result = classes.as<uint8_t>();
    uint8_t* const sure = confidence.data == nullptr ? nullptr : confidence.as<uint8_t>();
    require(sure == nullptr || (confidence.shape == classes.shape && confidence.dense()),
            "argmax: confidence is as the classes");
    visit_cpu(scores.dtype, [&](auto type) {
      using T = decltype(type);
      const int64_t chunk = round_up(kTaskElements / scores.shape.c, kBlockPixels);
      parallel_chunks(scores.shape.pixels(), chunk, [&](int64_t, int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; p += kBlockPixels) {
          const auto pixels = static_cast<int>(std::min<int64_t>(kBlockPixels, end - p));
          argmax_block(at<const T>(scores, p), scores.pixel_stride, pixels, scores.shape.c,
                       result + p, sure == nullptr ? nullptr : sure + p);
        }
      });
    });
  }

  void log_shares(const Tensor& sums) override {
    const int classes = sums.shape.c;
    require(classes <= kMaxClasses && sums.dense(), "log shares: at most 255 classes, dense");
    auto* const values = sums.as<float>();
    const int64_t chunk = round_up(kTaskElements / classes, kBlockPixels);
    parallel_chunks(sums.shape.pixels(), chunk, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; p += kBlockPixels) {
        const auto pixels = static_cast<int>(std::min<int64_t>(kBlockPixels, end - p));
        log_shares_block(values + p * classes, pixels, classes);
      }
    });
  }

  void count(const Tensor& predictions, const Tensor& labels, int classes,
             uint64_t* counts) override {
    require(predictions.shape == labels.shape && labels.shape.c == 1, "count: one class a pixel");
    require(predictions.dense() && labels.dense(), "count: tensors are dense");
    require(classes > 0 && classes <= kMaxClasses, "count: 1 to 255 classes");
    const uint8_t *p = predictions.as<uint8_t>(), *l = labels.as<uint8_t>();
    const auto run = classes <= kSmallTable ? count_small : count_large;
    parallel_chunks(labels.shape.pixels(), kCountedPixels,
                    [&](int64_t, int64_t begin, int64_t end) {
                      run(p + begin, l + begin, end - begin, classes, counts);
                    });
  }
};

}  // namespace

std::unique_ptr<ConfusionOps> make_confusion_ops() { return std::make_unique<CpuConfusionOps>(); }

}  // namespace macadam::cpu
