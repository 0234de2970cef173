#pragma once

#include <cmath>

#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

/// a * b + c, rounded once: one instruction where the processor has it, everywhere the same bits.
MACADAM_HD float fused(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return fmaf(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}

}  // namespace macadam::scalar
