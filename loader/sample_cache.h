#pragma once
// Decoded samples that stay in memory from one epoch to the next.

#include <atomic>
#include <cstddef>
#include <vector>

#include "loader/sample_reader.h"

namespace macadam {

/// As many samples as fit, whichever come first. Different samples may be asked for and kept by
/// different threads at once, one sample by one thread at a time.
class SampleCache {
 public:
  /// For the samples 0 ... samples - 1, in at most `bytes`.
  SampleCache(size_t samples, size_t bytes) : capacity_(bytes), entries_(samples) {}

  /// Null when it is not here.
  const DecodedSample* find(int sample) const;
  /// Whether another sample of `bytes` would fit now.
  bool has_room(size_t bytes) const { return used_.load() + bytes <= capacity_; }
  /// Moves the sample in here if it fits, and returns it then; else null, and `sample` is
  /// untouched.
  const DecodedSample* keep(int index, DecodedSample& sample);

 private:
  size_t capacity_;
  std::atomic<size_t> used_ = 0;
  std::vector<DecodedSample> entries_;  // empty until kept
};

}  // namespace macadam
