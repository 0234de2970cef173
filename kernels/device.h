#pragma once
// Devices, memory, streams and events. On the CPU a stream runs everything at once and an event is
// always done, so that code written for CUDA runs unchanged.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/tensor.h"

namespace macadam {

/// In bytes. Buffers begin at multiples of it, and so does what plans and convolutions cut out of
/// them.
inline constexpr size_t kMemoryAlignment = 256;

struct DeviceInfo {
  Device device;
  std::string name;            // "AMD EPYC", "NVIDIA H200"
  size_t memory_bytes = 0;     // total
  int compute_capability = 0;  // 90 for 9.0; 0 on the CPU
  bool fast_bf16 = false;      // faster than fp32: AMX, AMD's AVX512-BF16; capability 8.0 and above
  bool bf16 = true;            // false: known to have none, as CPUs without AVX-512
};

/// The devices this build can use on this machine, the CPU first.
std::vector<DeviceInfo> list_devices();

/// "auto" (the first CUDA device, else the CPU), "cpu", "cuda" or "cuda:N".
/// Throws InputError when there is no such device or this build lacks its backend.
Device parse_device(std::string_view text);

/// Information on one device; throws InputError when it is not there.
DeviceInfo device_info(Device device);

/// Makes `device` the one that the calling thread works on. For threads that queue work on a stream
/// that another thread made: they begin with cuda:0. Does nothing on the CPU.
void make_current(Device device);

/// A block of memory: move-only, 256-byte aligned, uninitialised.
class Buffer {
 public:
  Buffer() = default;
  /// Memory of `device`. Throws RunError naming the size when there is not enough.
  Buffer(Device device, size_t bytes);
  /// Host memory that `device` can copy from and to without staging (pinned for CUDA).
  static Buffer host_for(Device device, size_t bytes);

  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  enum class Kind : uint8_t { heap, device, pinned };
  Buffer(Device device, size_t bytes, Kind kind);
  void release() noexcept;

  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  Device device_;
  Kind kind_ = Kind::heap;
};

class Event;

/// A queue of work on one device. Movable.
class Stream {
 public:
  explicit Stream(Device device = {});
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  Device device() const { return device_; }
  /// Returns when all queued work is done; reports errors of asynchronous work as RunError.
  void synchronize();
  /// Later work on this stream waits for `event`.
  void wait(const Event& event);
  /// The cudaStream_t, or null on the CPU.
  void* native() const { return native_; }

  /// Words of device memory for kernels in which blocks wait to be the last (cuda/row_sums.cuh):
  /// 0 between kernels, each of which leaves them so. A stream has its own, since its kernels run
  /// one after the other.
  static constexpr int kTickets = 2048;
  unsigned* tickets() const { return reinterpret_cast<unsigned*>(tickets_.data()); }

  /// Launches so far: kernels, copies and fills that were queued or recorded, one for each call of
  /// a library. Replays of a graph count no more. Always 0 on the CPU.
  int64_t launches() const { return launches_; }
  /// For whatever queues one.
  void count_launch() { ++launches_; }

 private:
  Stream(Device device, Buffer tickets);

  Device device_;
  void* native_ = nullptr;
  Buffer tickets_;
  int64_t launches_ = 0;
};

/// A point in a stream's queue.
class Event {
 public:
  explicit Event(Device device = {});
  Event(Event&&) noexcept;
  Event& operator=(Event&&) noexcept;
  ~Event();

  void record(Stream& stream);
  /// Blocks the host until the recorded work is done.
  void synchronize();
  void* native() const { return native_; }

 private:
  Device device_;
  void* native_ = nullptr;
};

/// Copies `bytes` in stream order. Either side may be host memory; on the CPU it is memcpy.
void copy_bytes(Stream& stream, void* destination, const void* source, size_t bytes);

/// Sets `bytes` bytes of the stream's device memory to zero, in stream order.
void zero_bytes(Stream& stream, void* destination, size_t bytes);

/// A recorded sequence of launches that replays with one call (a CUDA graph).
class CapturedGraph {
 public:
  CapturedGraph() = default;
  /// Records what `body` launches on `stream`; nothing runs. Requires a CUDA stream, and a body
  /// that neither allocates nor synchronises. What `body` throws leaves the stream fit for use.
  template <typename Body>
  static CapturedGraph record(Stream& stream, Body&& body) {
    CapturedGraph graph;
    graph.begin(stream);
    try {
      body();
    } catch (...) {
      abandon(stream);
      throw;
    }
    graph.end(stream);
    return graph;
  }
  CapturedGraph(CapturedGraph&& other) noexcept;
  CapturedGraph& operator=(CapturedGraph&& other) noexcept;
  ~CapturedGraph();

  void launch(Stream& stream);
  explicit operator bool() const { return executable_ != nullptr; }

 private:
  void begin(Stream& stream);
  void end(Stream& stream);
  static void abandon(Stream& stream) noexcept;

  void* executable_ = nullptr;
};

}  // namespace macadam
