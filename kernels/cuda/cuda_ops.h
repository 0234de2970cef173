#pragma once
// The CUDA backend's doors to the rest of kernels/. Includes no vendor header, so that a build
// without CUDA can read it. `stream` outlives what is made from it.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kernels/ops.h"

namespace macadam::cuda {

/// "cuDNN 9.19.0".
std::string library_version();

/// All families.
Ops make_ops(Stream& stream);

// One family, each in the file of its name; the convolutions in cudnn/conv.cpp.
#define MACADAM_FACTORY(Family, name) std::unique_ptr<Family> make_##name##_ops(Stream& stream);
MACADAM_OP_FAMILIES(MACADAM_FACTORY)
#undef MACADAM_FACTORY

/// Whether make_depthwise() has a kernel: one 3 x 3 or 5 x 5 filter a channel, stride 1 or 2.
bool is_depthwise(const ConvDesc& desc);
std::unique_ptr<Convolution> make_depthwise(Stream& stream, const ConvDesc& desc);

// runtime.cpp: what kernels/device.cpp needs of the CUDA runtime. All throw RunError on failure.
std::vector<DeviceInfo> list_devices();  // empty without a driver or a GPU
size_t free_memory(int device);
void* allocate(int device, size_t bytes);
void* allocate_pinned(size_t bytes);
void release(void* data) noexcept;
void release_pinned(void* data) noexcept;
/// Makes `device` current for the calling thread.
void select(int device);
void* create_stream(int device);
void destroy_stream(void* stream) noexcept;
void synchronize_stream(void* stream);
void wait_event(void* stream, void* event);
void* create_event(int device);
void* create_timed_event(int device);
void destroy_event(void* event) noexcept;
void record_event(void* event, void* stream);
void synchronize_event(void* event);
double milliseconds_between(void* begin, void* end);  // events made by create_timed_event, done
void copy_async(void* stream, void* destination, const void* source, size_t bytes);
void zero_async(void* stream, void* destination, size_t bytes);
void begin_capture(void* stream);
void* end_capture(void* stream);  // an executable graph
void abandon_capture(void* stream) noexcept;
void launch_graph(void* executable, void* stream);
void destroy_graph(void* executable) noexcept;

}  // namespace macadam::cuda
