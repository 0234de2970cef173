#pragma once
// The backends under test.

#include <memory>
#include <string>

#include "kernels/ops.h"

namespace macadam::testing {

/// The ops of a backend and the stream that they work on.
class Backend {
 public:
  /// Of a device's own ops.
  explicit Backend(Device device) : stream(device), ops(make_ops(stream)) {}
  /// Of ops that run on the host.
  explicit Backend(Ops ops_) : ops(std::move(ops_)) {}
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  Stream stream;
  Ops ops;
};

/// The backend called "Cpu" (oneDNN and OpenMP), "Emulated" (the CUDA kernels, run by the block
/// emulator; of the convolutions the depthwise ones) or "Cuda" (the first GPU); null when this
/// build or machine lacks it. Each is made once in a process.
Backend* find_backend(const std::string& name);

}  // namespace macadam::testing
