#pragma once
// Decoded samples that stay in device memory from one epoch to the next.

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/to_size.h"
#include "kernels/device.h"
#include "kernels/tensor.h"

namespace macadam {

/// Holds the samples 0 ... capacity - 1 of a split, once each was stored: images of one size with
/// their labels, as the loader delivers them. Any thread may ask holds(); whoever stores and copies
/// does so on one stream, so that neither overtakes the other.
class DeviceCache {
 public:
  /// As many of `samples` samples of height x width as fit into `bytes` of the device. Throws
  /// RunError when it has not so much memory.
  DeviceCache(Device device, size_t bytes, int samples, int height, int width);

  int capacity() const { return capacity_; }
  bool holds(int sample) const;
  bool has_room_for(int sample) const { return sample >= 0 && sample < capacity_; }

  /// Keeps a copy of a sample that lies in device memory. Requires has_room_for(sample).
  void store(Stream& stream, int sample, const std::byte* image, const std::byte* labels);
  /// Requires holds(sample).
  void copy_to(Stream& stream, int sample, std::byte* image, std::byte* labels);

 private:
  std::byte* entry(int sample) { return memory_.data() + to_size(sample) * bytes_; }

  size_t pixels_, bytes_;  // of one sample
  int capacity_;
  Buffer memory_;
  std::unique_ptr<std::atomic<bool>[]> held_;
};

}  // namespace macadam
