#pragma once
// The handwritten CUDA kernels as ops on host memory.

#include "kernels/ops.h"

namespace macadam::emulated {

/// Every family; of the convolutions the depthwise ones, the others are cuDNN's.
Ops make_ops();

}  // namespace macadam::emulated
