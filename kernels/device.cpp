#include "kernels/device.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/round_up.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/memory_error.h"
#if defined(MACADAM_HAS_CUDA)
#include "kernels/cuda/cuda_ops.h"
#endif

namespace macadam {

namespace {

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "CPU";
}

DeviceInfo cpu_info() {
  const auto pages = static_cast<size_t>(sysconf(_SC_PHYS_PAGES));
  const auto page = static_cast<size_t>(sysconf(_SC_PAGE_SIZE));
  return {Device{}, cpu_name(), pages * page, 0, cpu::has_fast_bf16(), cpu::has_bf16()};
}

#if !defined(MACADAM_HAS_CUDA)
[[noreturn]] void no_cuda() {
  throw InputError("this build has no CUDA backend", "device cuda",
                   "configure with -DMACADAM_CUDA=ON, or use --device cpu");
}
#endif

}  // namespace

std::vector<DeviceInfo> list_devices() {
  std::vector<DeviceInfo> devices{cpu_info()};
#if defined(MACADAM_HAS_CUDA)
  for (DeviceInfo& info : cuda::list_devices()) devices.push_back(std::move(info));
#endif
  return devices;
}

DeviceInfo device_info(Device device) {
  const std::vector<DeviceInfo> devices = list_devices();
  std::string known;
  for (const DeviceInfo& info : devices) {
    if (info.device == device) return info;
    known += (known.empty() ? "" : ", ") + info.device.name();
  }
#if !defined(MACADAM_HAS_CUDA)
  if (device.is_cuda()) no_cuda();
#endif
  throw InputError("no such device", device.name(), "available here: " + known);
}

Device parse_device(std::string_view text) {
  if (text == "cpu") return Device{};
  if (text == "auto") {
    const std::vector<DeviceInfo> devices = list_devices();
    return devices.size() > 1 ? devices[1].device : devices[0].device;
  }
  Device device{DeviceKind::cuda, 0};
  if (text.starts_with("cuda:")) {
    const std::string digits(text.substr(5));
    char* end = nullptr;
    const long index = std::strtol(digits.c_str(), &end, 10);
    if (digits.empty() || *end != '\0' || index < 0 || index > 1023) {
      throw InputError("not a device", std::string(text), "use auto, cpu, cuda or cuda:N");
    }
    device.index = static_cast<int>(index);
  } else if (text != "cuda") {
    throw InputError("not a device", std::string(text), "use auto, cpu, cuda or cuda:N");
  }
  return device_info(device).device;
}

Buffer::Buffer(Device device, size_t bytes, Kind kind)
    : bytes_(bytes), device_(device), kind_(kind) {
  if (bytes == 0) return;
  if (kind == Kind::heap) {
    const size_t rounded = round_up(bytes, kMemoryAlignment);
    data_ = static_cast<std::byte*>(std::aligned_alloc(kMemoryAlignment, rounded));
    if (data_ == nullptr) {
      throw MemoryError(fmt::format("not enough memory for {} MiB", bytes >> 20), device.name(),
                        "use a smaller batch or size");
    }
    return;
  }
#if defined(MACADAM_HAS_CUDA)
  data_ = static_cast<std::byte*>(kind == Kind::device ? cuda::allocate(device.index, bytes)
                                                       : cuda::allocate_pinned(bytes));
#else
  no_cuda();
#endif
}

Buffer::Buffer(Device device, size_t bytes)
    : Buffer(device, bytes, device.is_cuda() ? Kind::device : Kind::heap) {}

Buffer Buffer::host_for(Device device, size_t bytes) {
  return Buffer(device, bytes, device.is_cuda() ? Kind::pinned : Kind::heap);
}

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    device_ = other.device_;
    kind_ = other.kind_;
  }
  return *this;
}

Buffer::~Buffer() { release(); }

void Buffer::release() noexcept {
  if (data_ == nullptr) return;
  if (kind_ == Kind::heap) std::free(data_);
#if defined(MACADAM_HAS_CUDA)
  if (kind_ == Kind::device) cuda::release(data_);
  if (kind_ == Kind::pinned) cuda::release_pinned(data_);
#endif
  data_ = nullptr;
}

// On the CPU, streams and events are only names: every native_ below is null there.
#if defined(MACADAM_HAS_CUDA)

void make_current(Device device) {
  if (device.is_cuda()) cuda::select(device.index);
}

Stream::Stream(Device device, Buffer tickets)
    : device_(device),
      native_(device.is_cuda() ? cuda::create_stream(device.index) : nullptr),
      tickets_(std::move(tickets)) {}
Stream::~Stream() {
  if (native_ != nullptr) cuda::destroy_stream(native_);
}
void Stream::synchronize() {
  if (native_ != nullptr) cuda::synchronize_stream(native_);
}
void Stream::wait(const Event& event) {
  if (native_ != nullptr && event.native() != nullptr) cuda::wait_event(native_, event.native());
}

Event::Event(Device device)
    : device_(device), native_(device.is_cuda() ? cuda::create_event(device.index) : nullptr) {}
Event::~Event() {
  if (native_ != nullptr) cuda::destroy_event(native_);
}
void Event::record(Stream& stream) {
  if (native_ != nullptr) cuda::record_event(native_, stream.native());
}
void Event::synchronize() {
  if (native_ != nullptr) cuda::synchronize_event(native_);
}

void copy_bytes(Stream& stream, void* destination, const void* source, size_t bytes) {
  if (bytes == 0) return;  // memcpy wants addresses all the same
  if (stream.native() != nullptr) {
    cuda::copy_async(stream.native(), destination, source, bytes);
    stream.count_launch();
  } else {
    std::memcpy(destination, source, bytes);
  }
}

void zero_bytes(Stream& stream, void* destination, size_t bytes) {
  if (bytes == 0) return;
  if (stream.native() != nullptr) {
    cuda::zero_async(stream.native(), destination, bytes);
    stream.count_launch();
  } else {
    std::memset(destination, 0, bytes);
  }
}

void CapturedGraph::begin(Stream& stream) { cuda::begin_capture(stream.native()); }
void CapturedGraph::end(Stream& stream) { executable_ = cuda::end_capture(stream.native()); }
void CapturedGraph::abandon(Stream& stream) noexcept { cuda::abandon_capture(stream.native()); }
void CapturedGraph::launch(Stream& stream) { cuda::launch_graph(executable_, stream.native()); }
CapturedGraph::~CapturedGraph() {
  if (executable_ != nullptr) cuda::destroy_graph(executable_);
}

#else

void make_current(Device device) {
  if (device.is_cuda()) no_cuda();
}

Stream::Stream(Device device, Buffer tickets) : device_(device), tickets_(std::move(tickets)) {
  if (device.is_cuda()) no_cuda();
}
Stream::~Stream() = default;
void Stream::synchronize() {}
void Stream::wait(const Event&) {}

Event::Event(Device device) : device_(device) {
  if (device.is_cuda()) no_cuda();
}
Event::~Event() = default;
void Event::record(Stream&) {}
void Event::synchronize() {}

void copy_bytes(Stream&, void* destination, const void* source, size_t bytes) {
  if (bytes > 0) std::memcpy(destination, source, bytes);  // it wants addresses in any case
}
void zero_bytes(Stream&, void* destination, size_t bytes) {
  if (bytes > 0) std::memset(destination, 0, bytes);
}

void CapturedGraph::begin(Stream&) { no_cuda(); }
void CapturedGraph::end(Stream&) { no_cuda(); }
void CapturedGraph::abandon(Stream&) noexcept {}
void CapturedGraph::launch(Stream&) { no_cuda(); }
CapturedGraph::~CapturedGraph() = default;

#endif

Stream::Stream(Device device) : Stream(device, Buffer(device, kTickets * sizeof(unsigned))) {
  zero_bytes(*this, tickets_.data(), tickets_.bytes());
}

Stream::Stream(Stream&& other) noexcept
    : device_(other.device_),
      native_(std::exchange(other.native_, nullptr)),
      tickets_(std::move(other.tickets_)),
      launches_(other.launches_) {}
Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(native_, other.native_);
  std::swap(tickets_, other.tickets_);
  std::swap(launches_, other.launches_);
  return *this;
}

Event::Event(Event&& other) noexcept
    : device_(other.device_), native_(std::exchange(other.native_, nullptr)) {}
Event& Event::operator=(Event&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(native_, other.native_);
  return *this;
}

CapturedGraph::CapturedGraph(CapturedGraph&& other) noexcept
    : executable_(std::exchange(other.executable_, nullptr)) {}
CapturedGraph& CapturedGraph::operator=(CapturedGraph&& other) noexcept {
  std::swap(executable_, other.executable_);
  return *this;
}

}  // namespace macadam
