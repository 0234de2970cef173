#pragma once
// How long ops take on the GPU itself: captured, replayed many times, by the device's clock.

#include <map>
#include <vector>

#include "bench/op_cases.h"
#include "kernels/device.h"

namespace macadam::bench {

/// Bytes of different memory that calls go through in turns: several times any L2 cache, so that
/// nothing that a call reads lies there from the call before.
constexpr size_t kFootprint = size_t{512} << 20;

/// The same call on as many sets of tensors as kFootprint needs: 2 at least, and at most 256, which
/// is less than that only for ops on a few kilobytes.
std::vector<Call> in_turns(Workbench& bench, const std::function<Call(Workbench&)>& make);

/// Seconds of one of the calls, in turns: the median over replays of a captured graph. The calls
/// queue work on `stream`, which is a CUDA one.
double median_seconds(Stream& stream, const std::vector<Call>& calls);

/// What copying reaches, by how much is moved.
class CopyRoof {
 public:
  explicit CopyRoof(DeviceContext& context) : context_(context) {}

  /// Bytes a second, read and written ones together, of a device-to-device copy that moves as many
  /// as `bytes`, to the nearest power of two. Measured when it is first asked for.
  double bytes_per_second(size_t bytes);
  /// That power of two.
  static size_t measured_bytes(size_t bytes);

 private:
  DeviceContext& context_;
  std::map<size_t, double> measured_;
};

}  // namespace macadam::bench
