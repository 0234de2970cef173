#pragma once
// The handwritten CUDA kernels as ops on host memory, or on a simulated device's.

#include "kernels/ops.h"

namespace macadam::emulated {

/// Every family; of the convolutions the depthwise ones, the others are cuDNN's. On a stream that
/// outlives them (kernels/cuda/cuda_ops.cpp), or on one of the host.
Ops make_ops(Stream& stream);
Ops make_ops();

/// Whether the convolution is one of those.
bool is_depthwise(const ConvDesc& desc);

}  // namespace macadam::emulated
