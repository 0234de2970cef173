#pragma once
// The libraries behind a device's ops and the instruction sets in use, for people.

#include <string>
#include <string_view>

#include "kernels/tensor.h"

namespace macadam {

/// "oneDNN 2.6.3", "cuDNN 9.19.0, CUDA 13.0". Requires a device of this build.
std::string backend_version(Device device);

/// What oneDNN may use of this CPU: "avx512_core_bf16", which ONEDNN_MAX_CPU_ISA can limit. Empty
/// in a build without it.
std::string convolution_isa();

/// What the rest of the CPU's code was compiled for: the highest level of the x86-64 psABI that it
/// may use ("x86-64-v3", "x86-64" below them), "other" on other machines.
std::string_view compiled_level();

}  // namespace macadam
