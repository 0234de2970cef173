#pragma once
// The handwritten CUDA kernels as ops on host memory.

#include "kernels/ops.h"

namespace macadam::emulated {

/// Every family but convolution, which is cuDNN's: `conv` is null.
Ops make_ops();

}  // namespace macadam::emulated
