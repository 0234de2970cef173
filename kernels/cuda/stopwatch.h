#pragma once
// Measures the time that work on a stream takes on the GPU.

#include "kernels/device.h"

namespace macadam::cuda {

class Stopwatch {
 public:
  explicit Stopwatch(Stream& stream);
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch();

  /// Marks the beginning in the stream's queue.
  void start();
  /// Marks the end and waits for it; milliseconds since start().
  float stop();

 private:
  Stream& stream_;
  void* begin_ = nullptr;
  void* end_ = nullptr;
};

}  // namespace macadam::cuda
