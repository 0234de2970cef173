// The CUDA runtime, as kernels/cuda/runtime.cpp wraps it, on the host: streams are queues that a
// schedule empties. What CUDA refuses is refused here; what it leaves open the schedule decides.

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/error.h"
#include "block_emulator.h"
#include "kernels/cuda/cuda_ops.h"
#include "tests/simulated/counting.h"
#include "tests/simulated/device_memory.h"
#include "tests/simulated/device_wide.h"
#include "tests/simulated/scheduler.h"

namespace macadam::simulated {

namespace {

using Kind = DeviceMemory::Kind;

[[noreturn]] void fail(const std::string& call, const std::string& cause) {
  throw RunError("CUDA: " + call + " failed", cause, "this device is simulated: see the test");
}

/// What a stream records instead of running it.
struct Capture {
  std::thread::id thread;
  bool spoilt = false;  // by a call that no recording may hold
  std::vector<Work> work;
};

struct Graph {
  std::vector<Work> work;
};

struct RecordedEvent {
  std::shared_ptr<Point> latest;  // null: never recorded
  bool timed;
};

/// What Stream::native() points to, as the emulator's launches want it.
class QueueOfStream final : public emulator::Queue {
 public:
  explicit QueueOfStream(WorkQueue& queue) : queue_(queue) {}

  void push(std::function<void()> work) override;

  WorkQueue& queue() { return queue_; }
  std::optional<Capture> capture;

 private:
  WorkQueue& queue_;
};

/// The one device. Its mutex is held by whatever works on it: host threads take turns.
struct SimulatedDevice {
  std::mutex mutex;
  DeviceMemory memory;
  Scheduler scheduler;
  std::vector<std::unique_ptr<QueueOfStream>> streams;
  bool counts = false;                    // and drops what is queued
  std::map<void*, size_t> never_touched;  // address space, while it counts

  static SimulatedDevice& get() {
    static SimulatedDevice device;
    return device;
  }

  /// Spoils what this thread records on any stream; whether it does.
  bool spoil_captures() {
    bool any = false;
    for (const auto& stream : streams) {
      if (!stream->capture || stream->capture->thread != std::this_thread::get_id()) continue;
      stream->capture->spoilt = any = true;
    }
    return any;
  }
  void refuse_in_capture(const std::string& call) {
    if (spoil_captures()) fail(call, "the thread records a graph");
  }

  void push(QueueOfStream& stream, Work work) {
    if (stream.capture) {
      stream.capture->work.push_back(std::move(work));
    } else {
      scheduler.push(stream.queue(), {.after = nullptr, .work = std::move(work), .point = nullptr});
    }
  }

  std::shared_ptr<Point> record(QueueOfStream& stream) {
    const auto point = std::make_shared<Point>(&stream.queue());
    scheduler.push(stream.queue(), {.after = nullptr, .work = nullptr, .point = point});
    return point;
  }

  /// Runs what is queued on the stream. Requires that it records nothing.
  void finish(QueueOfStream& stream) { scheduler.run_until(*record(stream)); }

  void* allocate(bool pinned, size_t bytes) {
    const std::string call =
        fmt::format("{}({} bytes)", pinned ? "cudaHostAlloc" : "cudaMalloc", bytes);
    const std::lock_guard lock(mutex);
    refuse_in_capture(call);
    if (counts && !pinned) return reserve(bytes);
    void* data = pinned ? memory.allocate_pinned(bytes) : memory.allocate(bytes);
    if (data == nullptr) fail(call, "out of memory");
    return data;
  }

  /// Freeing memory waits for the whole device (of pinned memory CUDA does not promise that, but
  /// does it).
  void release(void* data) {
    const std::lock_guard lock(mutex);
    spoil_captures();
    scheduler.run_all();
    if (const auto reserved = never_touched.extract(data)) {
      munmap(data, reserved.mapped());
      return;
    }
    memory.release(data);
  }

  void* reserve(size_t bytes) {
    void* const data =
        mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(data != MAP_FAILED, "address space for the device");
    never_touched.emplace(data, bytes);
    return data;
  }
};

/// Queues a function that may touch the device's memory. Requires its mutex.
template <typename Function>
void enqueue(SimulatedDevice& device, QueueOfStream& stream, Function function) {
  if (device.counts) return;
  device.push(stream, std::make_shared<const std::function<void()>>(
                          [&device, function = std::move(function)] {
                            const DeviceMemory::Opened opened(device.memory);
                            function();
                          }));
}

void QueueOfStream::push(std::function<void()> work) {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  enqueue(device, *this, std::move(work));
}

QueueOfStream& stream_of(void* stream) {
  return static_cast<QueueOfStream&>(*static_cast<emulator::Queue*>(stream));
}
RecordedEvent& event_of(void* event) { return *static_cast<RecordedEvent*>(event); }

void* new_event(int device, bool timed) {
  cuda::select(device);
  return new RecordedEvent{nullptr, timed};
}

/// For calls that no recording may hold; and for events in one, which CUDA knows and this does not:
/// the engine records none.
void refuse_capturing(QueueOfStream& stream, const std::string& call) {
  if (!stream.capture) return;
  stream.capture->spoilt = true;
  fail(call, "the stream records a graph");
}

}  // namespace

void may_synchronize(const std::string& call) {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  bool recorded = false;
  for (const auto& stream : device.streams) {
    if (stream->capture) stream->capture->spoilt = recorded = true;
  }
  if (recorded) fail(call, "a graph is being recorded");
}

Counting::Counting() {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  device.counts = true;
}

Counting::~Counting() {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  device.counts = false;
}

Scheduled::Scheduled(const Schedule& schedule) {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  device.scheduler.begin(schedule);
}

Scheduled::~Scheduled() {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  device.scheduler.begin({});
}

}  // namespace macadam::simulated

namespace macadam::cuda {

using namespace simulated;

std::vector<DeviceInfo> list_devices() {
  return {{Device{DeviceKind::cuda, 0}, "simulated", DeviceMemory::kBytes, 90, true}};
}

void select(int device) {
  if (device != 0) fail(fmt::format("cudaSetDevice({})", device), "there is one device");
}

void* allocate(int device, size_t bytes) {
  select(device);
  return SimulatedDevice::get().allocate(false, bytes);
}

void* allocate_pinned(size_t bytes) { return SimulatedDevice::get().allocate(true, bytes); }

void release(void* data) noexcept { SimulatedDevice::get().release(data); }
void release_pinned(void* data) noexcept { SimulatedDevice::get().release(data); }

void* create_stream(int device) {
  select(device);
  SimulatedDevice& simulated = SimulatedDevice::get();
  const std::lock_guard lock(simulated.mutex);
  simulated.streams.push_back(std::make_unique<QueueOfStream>(simulated.scheduler.add()));
  emulator::Queue* const native = simulated.streams.back().get();
  return native;
}

void destroy_stream(void* stream) noexcept {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  // The queued work still runs, some time.
  QueueOfStream& gone = stream_of(stream);
  device.scheduler.close(gone.queue());
  std::erase_if(device.streams, [&](const auto& s) { return s.get() == &gone; });
}

void synchronize_stream(void* stream) {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  refuse_capturing(stream_of(stream), "cudaStreamSynchronize");
  device.refuse_in_capture("cudaStreamSynchronize");
  device.finish(stream_of(stream));
}

void wait_event(void* stream, void* event) {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  refuse_capturing(stream_of(stream), "cudaStreamWaitEvent");
  if (event_of(event).latest == nullptr) return;
  device.scheduler.push(stream_of(stream).queue(),
                        {.after = event_of(event).latest, .work = nullptr, .point = nullptr});
}

void* create_event(int device) { return new_event(device, false); }
void* create_timed_event(int device) { return new_event(device, true); }

void destroy_event(void* event) noexcept { delete &event_of(event); }

void record_event(void* event, void* stream) {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  refuse_capturing(stream_of(stream), "cudaEventRecord");
  event_of(event).latest = device.record(stream_of(stream));
}

void synchronize_event(void* event) {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  device.refuse_in_capture("cudaEventSynchronize");
  if (event_of(event).latest != nullptr) device.scheduler.run_until(*event_of(event).latest);
}

double milliseconds_between(void* begin, void* end) {
  const std::lock_guard lock(SimulatedDevice::get().mutex);
  for (const RecordedEvent* event : {&event_of(begin), &event_of(end)}) {
    if (!event->timed || event->latest == nullptr || !event->latest->done) {
      fail("cudaEventElapsedTime", "an event without timing, or not recorded, or not done");
    }
  }
  return std::chrono::duration<double, std::milli>(event_of(end).latest->when -
                                                   event_of(begin).latest->when)
      .count();
}

void copy_async(void* stream, void* destination, const void* source, size_t bytes) {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  QueueOfStream& on = stream_of(stream);
  if (device.counts) return;
  const bool from_pageable = device.memory.kind_of(source) == Kind::pageable;
  const bool to_pageable = device.memory.kind_of(destination) == Kind::pageable;
  if (from_pageable || to_pageable) refuse_capturing(on, "cudaMemcpyAsync");
  if (from_pageable) {
    // CUDA takes the bytes along before it returns; other memory it reads when the copy runs.
    const auto* first = static_cast<const std::byte*>(source);
    enqueue(device, on, [destination, staged = std::vector<std::byte>(first, first + bytes)] {
      std::memcpy(destination, staged.data(), staged.size());
    });
  } else {
    enqueue(device, on, [=] { std::memmove(destination, source, bytes); });
  }
  if (to_pageable) device.finish(on);
}

void zero_async(void* stream, void* destination, size_t bytes) {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  enqueue(device, stream_of(stream), [=] { std::memset(destination, 0, bytes); });
}

void begin_capture(void* stream) {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  refuse_capturing(stream_of(stream), "cudaStreamBeginCapture");
  stream_of(stream).capture.emplace(std::this_thread::get_id());
}

void* end_capture(void* stream) {
  // Time for other threads to do what spoils a recording.
  std::this_thread::sleep_for(std::chrono::microseconds(500));
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  std::optional<Capture> capture = std::exchange(stream_of(stream).capture, std::nullopt);
  if (!capture || capture->spoilt) {
    fail("cudaStreamEndCapture", capture ? "the recording was spoilt" : "nothing is recorded");
  }
  return new Graph{std::move(capture->work)};
}

void abandon_capture(void* stream) noexcept {
  const std::lock_guard lock(SimulatedDevice::get().mutex);
  stream_of(stream).capture.reset();
}

void launch_graph(void* executable, void* stream) {
  SimulatedDevice& device = SimulatedDevice::get();
  const std::lock_guard lock(device.mutex);
  // One by one: other streams may work between the nodes of a graph.
  for (const Work& work : static_cast<Graph*>(executable)->work) {
    device.push(stream_of(stream), work);
  }
}

void destroy_graph(void* executable) noexcept { delete static_cast<Graph*>(executable); }

}  // namespace macadam::cuda
