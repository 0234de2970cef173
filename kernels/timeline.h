#pragma once
// Points in a stream's queue and the times at which the device reached them: what a profile is made
// of. On the CPU, where work is done when its call returns, it reads the clock.

#include <chrono>
#include <cstdint>
#include <vector>

#include "kernels/device.h"

namespace macadam {

class Timeline {
 public:
  explicit Timeline(Stream& stream);
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;
  ~Timeline();

  /// Marks a point.
  void mark();
  /// Waits for all of them. Milliseconds from the first mark to each.
  std::vector<double> milliseconds();
  /// What was launched on the stream (Stream::launches) between each mark and the one before; 0 for
  /// the first.
  std::vector<int64_t> launches() const;
  /// Forgets the marks.
  void clear() { marks_ = 0; }

 private:
  Stream& stream_;
  size_t marks_ = 0;
  std::vector<int64_t> launches_;  // of the stream at each mark
  std::vector<void*> events_;      // CUDA: made when first needed, then used again
  std::vector<std::chrono::steady_clock::time_point> times_;
};

}  // namespace macadam
