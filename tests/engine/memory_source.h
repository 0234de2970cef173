#pragma once
// A data set in memory for tests: images of coloured tiles with noise, labels that follow from the
// colours, about one tile in nine ignored.

#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "base/to_size.h"
#include "engine/input/batch_source.h"
#include "tests/engine/hashed.h"

namespace macadam::testing {

class MemorySource final : public BatchSource {
 public:
  /// `samples` images of batch.h x batch.w in batches of batch.n; the last may be padded.
  /// `seed` decides what they show and the order of each epoch.
  MemorySource(int samples, Shape batch, int classes, uint32_t seed)
      : samples_(samples),
        classes_(classes),
        seed_(seed),
        shape_(batch),
        images_(to_size(batch.elements())),
        labels_(to_size(batch.pixels())),
        indices_(to_size(batch.n)) {
    require(batch.c == 3, "RGB images");
  }

  int64_t batches() const override { return (samples_ + shape_.n - 1) / shape_.n; }

  void start(int64_t epoch, int64_t first) override {
    epoch_ = epoch;
    next_ = first;
    order_.resize(to_size(samples_));
    std::iota(order_.begin(), order_.end(), 0);
    const uint32_t stream = seed_ + 7919 * (static_cast<uint32_t>(epoch) + 1);
    std::sort(order_.begin(), order_.end(), [&](int a, int b) {
      return hashed(stream, static_cast<uint32_t>(a)) < hashed(stream, static_cast<uint32_t>(b));
    });
  }

  const Batch& next() override {
    require(next_ < batches(), "a batch is left");
    if (before_next) before_next(served_);
    batch_ = {};
    for (int i = 0; i < shape_.n; ++i) {
      const int64_t position = next_ * shape_.n + i;
      const bool padding = position >= samples_;
      indices_[to_size(i)] = padding ? -1 : order_[to_size(position)];
      batch_.n += padding ? 0 : 1;
      fill(i, indices_[to_size(i)]);
    }
    batch_.epoch = epoch_;
    batch_.index = next_++;
    batch_.images = Tensor(images_.data(), shape_, DType::u8);
    batch_.labels = Tensor(labels_.data(), {shape_.n, shape_.h, shape_.w, 1}, DType::u8);
    batch_.samples = indices_;
    ++served_;
    return batch_;
  }

  SourceStats stats() const override { return {}; }
  std::string sample_name(int sample) const override {
    require(sample >= 0 && sample < samples_, "a sample of this data set");
    return "sample" + std::to_string(sample) + ".png";
  }

  /// Batches given out since construction.
  int64_t served() const { return served_; }
  /// Called with served() before each batch; may throw.
  std::function<void(int64_t)> before_next;
  /// Ignores every pixel.
  bool unlabeled = false;

 private:
  static constexpr int kTile = 4;

  void fill(int slot, int sample) {
    const int64_t pixels = int64_t{shape_.h} * shape_.w;
    uint8_t* image = images_.data() + slot * pixels * 3;
    uint8_t* label = labels_.data() + slot * pixels;
    const auto stream = seed_ + 1000u + 31u * static_cast<uint32_t>(sample);
    const bool mirrored = hashed(stream, 0) % 2 == 1;
    for (int y = 0; y < shape_.h; ++y) {
      for (int x = 0; x < shape_.w; ++x) {
        const int tile = y / kTile * 64 + x / kTile;
        const auto drawn = static_cast<uint32_t>(y * shape_.w + x);
        const int pixel = y * shape_.w + (mirrored ? shape_.w - 1 - x : x);
        if (sample < 0) {
          label[pixel] = 255;
          std::fill_n(image + pixel * 3, 3, uint8_t{0});
          continue;
        }
        const auto kind = hashed(stream + 1, static_cast<uint32_t>(tile)) % 9;
        const auto shown =
            hashed(stream + 2, static_cast<uint32_t>(tile)) % static_cast<uint32_t>(classes_);
        label[pixel] = kind == 8 || unlabeled ? 255 : static_cast<uint8_t>(shown);
        for (uint32_t c = 0; c < 3; ++c) {
          const uint32_t noise = hashed(stream + 3, drawn * 3 + c) % 32;
          image[static_cast<uint32_t>(pixel) * 3 + c] =
              static_cast<uint8_t>(hashed(99, shown * 3 + c) % 224 + noise);
        }
      }
    }
  }

  int samples_, classes_;
  uint32_t seed_;
  Shape shape_;
  std::vector<uint8_t> images_, labels_;
  std::vector<int> indices_, order_;
  Batch batch_;
  int64_t epoch_ = 0, next_ = 0, served_ = 0;
};

}  // namespace macadam::testing
