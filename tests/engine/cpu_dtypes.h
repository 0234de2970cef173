#pragma once
// What plans on this machine's CPU run in, so that tests pass under every instruction set.

#include <vector>

#include "kernels/device.h"

namespace macadam {

/// Processors without AVX-512 have no bf16.
inline bool cpu_has_bf16() { return device_info(Device{}).bf16; }

inline std::vector<DType> cpu_dtypes() {
  if (cpu_has_bf16()) return {DType::f32, DType::bf16};
  return {DType::f32};
}

}  // namespace macadam
