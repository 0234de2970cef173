#pragma once
// What oneDNN is known to compute wrongly: the one place that decides which of its implementations
// are not taken.

#include <functional>
#include <string_view>

#include "kernels/conv.h"

namespace macadam::cpu {

/// Whether a pass of a convolution must not be left to `implementation`, by the library's own name
/// for it ("jit:avx512_core_amx_bf16"). Asked before anything of it is created.
using ImplementationFault =
    std::function<bool(ConvPass pass, std::string_view implementation, const ConvDesc& desc)>;

/// The faults known: AMX weight gradients of wide images; and of 1x1 convolutions bf16 data
/// gradients from an odd number of channels, weight gradients of strided ones with few channels.
bool is_known_fault(ConvPass pass, std::string_view implementation, const ConvDesc& desc);

/// Whether a pass reads memory of its scratchpad that it has not written: then that is to hold
/// finite numbers, of any values. AMX weight gradients from oneDNN 2.7 on.
bool reads_stale_scratch(ConvPass pass, std::string_view implementation);

}  // namespace macadam::cpu
