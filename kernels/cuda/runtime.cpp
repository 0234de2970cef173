// Devices, memory, streams, events and graphs over the CUDA runtime.

#include <fmt/format.h>

#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/stopwatch.h"
#include "kernels/memory_error.h"

namespace macadam::cuda {

namespace {

std::string_view remedy_of(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
      return "use a smaller batch or size, or close what else runs on the GPU (nvidia-smi)";
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice: return "list the devices with 'macadam info', or use --device cpu";
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
      return "update the NVIDIA driver, or use --device cpu";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return "build with -DMACADAM_CUDA_ARCHITECTURES naming this GPU (native: the one here)";
    case cudaErrorDevicesUnavailable:
    case cudaErrorSystemNotReady: return "see with nvidia-smi what holds the GPU, then try again";
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
      return "a kernel failed: run again under compute-sanitizer to see which, and report it";
    default: return "run again with CUDA_LAUNCH_BLOCKING=1 to see which call fails, and report it";
  }
}

cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t event_of(void* event) { return static_cast<cudaEvent_t>(event); }

/// check() that names the size too. A training step comes here: no text is made unless it fails.
void check_bytes(cudaError_t status, std::string_view call, size_t bytes) {
  if (status != cudaSuccess) check(status, fmt::format("{}({} bytes)", call, bytes));
}

}  // namespace

void check(cudaError_t status, std::string_view call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  const std::string what = fmt::format("CUDA: {} failed", call);
  const std::string why =
      fmt::format("{} ({})", cudaGetErrorName(status), cudaGetErrorString(status));
  if (status == cudaErrorMemoryAllocation) throw MemoryError(what, why, remedy_of(status));
  throw RunError(what, why, remedy_of(status));
}

std::vector<DeviceInfo> list_devices() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver ||
      status == cudaErrorStubLibrary) {
    cudaGetLastError();
    return {};
  }
  check(status, "cudaGetDeviceCount");

  std::vector<DeviceInfo> devices;
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
    const int capability = properties.major * 10 + properties.minor;
    devices.push_back({Device{DeviceKind::cuda, index}, properties.name, properties.totalGlobalMem,
                       capability, capability >= 80});
  }
  return devices;
}

void select(int device) {
  const cudaError_t status = cudaSetDevice(device);
  if (status != cudaSuccess) check(status, fmt::format("cudaSetDevice({})", device));
}

size_t free_memory(int device) {
  select(device);
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return free;
}

void* allocate(int device, size_t bytes) {
  select(device);
  void* data = nullptr;
  check_bytes(cudaMalloc(&data, bytes), "cudaMalloc", bytes);
  return data;
}

void* allocate_pinned(size_t bytes) {
  void* data = nullptr;
  check_bytes(cudaHostAlloc(&data, bytes, cudaHostAllocPortable), "cudaHostAlloc", bytes);
  return data;
}

void release(void* data) noexcept { cudaFree(data); }

void release_pinned(void* data) noexcept { cudaFreeHost(data); }

void* create_stream(int device) {
  select(device);
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return stream;
}

void destroy_stream(void* stream) noexcept { cudaStreamDestroy(stream_of(stream)); }

void synchronize_stream(void* stream) {
  check(cudaStreamSynchronize(stream_of(stream)), "cudaStreamSynchronize");
}

void wait_event(void* stream, void* event) {
  check(cudaStreamWaitEvent(stream_of(stream), event_of(event), 0), "cudaStreamWaitEvent");
}

void* create_event(int device) {
  select(device);
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  return event;
}

void* create_timed_event(int device) {
  select(device);
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "cudaEventCreate");
  return event;
}

double milliseconds_between(void* begin, void* end) {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, event_of(begin), event_of(end)),
        "cudaEventElapsedTime");
  return static_cast<double>(milliseconds);
}

void destroy_event(void* event) noexcept { cudaEventDestroy(event_of(event)); }

void record_event(void* event, void* stream) {
  check(cudaEventRecord(event_of(event), stream_of(stream)), "cudaEventRecord");
}

void synchronize_event(void* event) {
  check(cudaEventSynchronize(event_of(event)), "cudaEventSynchronize");
}

void copy_async(void* stream, void* destination, const void* source, size_t bytes) {
  check_bytes(cudaMemcpyAsync(destination, source, bytes, cudaMemcpyDefault, stream_of(stream)),
              "cudaMemcpyAsync", bytes);
}

void zero_async(void* stream, void* destination, size_t bytes) {
  check_bytes(cudaMemsetAsync(destination, 0, bytes, stream_of(stream)), "cudaMemsetAsync", bytes);
}

void begin_capture(void* stream) {
  // Thread-local: another thread, such as the loader's, may allocate while this one records.
  check(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCapture");
}

void* end_capture(void* stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream_of(stream), &graph), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "cudaGraphInstantiate");
  return executable;
}

void abandon_capture(void* stream) noexcept {
  cudaGraph_t graph = nullptr;
  // What failed may have spoilt the capture: ending it reports that too, and the graph is null.
  cudaStreamEndCapture(stream_of(stream), &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void launch_graph(void* executable, void* stream) {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable), stream_of(stream)),
        "cudaGraphLaunch");
}

void destroy_graph(void* executable) noexcept {
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable));
}

Stopwatch::Stopwatch(Stream& stream) : stream_(stream) {
  select(stream.device().index);
  cudaEvent_t begin = nullptr, end = nullptr;
  check(cudaEventCreate(&begin), "cudaEventCreate");
  begin_ = begin;
  const cudaError_t status = cudaEventCreate(&end);
  if (status != cudaSuccess) destroy_event(begin_);
  check(status, "cudaEventCreate");
  end_ = end;
}

Stopwatch::~Stopwatch() {
  destroy_event(begin_);
  destroy_event(end_);
}

void Stopwatch::start() { record_event(begin_, stream_.native()); }

float Stopwatch::stop() {
  record_event(end_, stream_.native());
  synchronize_event(end_);
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, event_of(begin_), event_of(end_)),
        "cudaEventElapsedTime");
  return milliseconds;
}

}  // namespace macadam::cuda
