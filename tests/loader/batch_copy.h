#pragma once
// Batches to compare after their slots are gone.

#include <cstdint>
#include <tuple>
#include <vector>

#include "loader/loader.h"

namespace macadam::testing {

struct BatchCopy {
  int64_t epoch, index;
  int n;
  std::vector<uint8_t> images, labels, cached;
  std::vector<std::byte> programs;
  std::vector<int> samples;

  explicit BatchCopy(const Batch& batch)
      : epoch(batch.epoch),
        index(batch.index),
        n(batch.n),
        images(bytes_of(batch.images.as<uint8_t>(), batch.images.bytes())),
        labels(bytes_of(batch.labels.as<uint8_t>(), batch.labels.bytes())),
        cached(bytes_of(batch.cached, batch.samples.size())),
        programs(bytes_of(batch.programs.data, batch.samples.size() * batch.programs.limits.bytes)),
        samples(batch.samples.begin(), batch.samples.end()) {}

  bool operator==(const BatchCopy&) const = default;

  /// Index, image, labels and program of one sample.
  std::tuple<int, std::vector<uint8_t>, std::vector<uint8_t>, std::vector<std::byte>> sample(
      size_t i) const {
    return {samples[i], part(images, i), part(labels, i), part(programs, i)};
  }

 private:
  template <typename T>
  static std::vector<T> bytes_of(const T* data, size_t count) {
    return data == nullptr ? std::vector<T>() : std::vector<T>(data, data + count);
  }
  template <typename T>
  std::vector<T> part(const std::vector<T>& all, size_t i) const {
    const auto size = static_cast<ptrdiff_t>(all.size() / samples.size());
    const auto begin = all.begin() + static_cast<ptrdiff_t>(i) * size;
    return {begin, begin + size};
  }
};

/// Batches of four photos of 10 x 14 pixels, by two threads.
inline LoaderOptions small_options() {
  LoaderOptions options;
  options.height = 10;
  options.width = 14;
  options.batch = 4;
  options.threads = 2;
  options.seed = 42;
  return options;
}

inline std::vector<BatchCopy> read_epoch(Loader& loader, int64_t epoch, int64_t first = 0) {
  std::vector<BatchCopy> batches;
  loader.start(epoch, first);
  for (int64_t i = first; i < loader.batches(); ++i) batches.emplace_back(loader.next());
  return batches;
}

}  // namespace macadam::testing
