#pragma once
// Turns a status of the CUDA runtime into a RunError.

#include <cuda_runtime_api.h>

#include <string_view>

namespace macadam::cuda {

/// Throws RunError naming `call`, the CUDA error and a remedy, unless `status` is cudaSuccess.
/// Clears CUDA's last error, so that the next launch is not blamed for this one.
void check(cudaError_t status, std::string_view call);

/// Throws RunError when the last kernel launch of this thread was refused.
inline void check_launch(std::string_view kernel) { check(cudaGetLastError(), kernel); }

}  // namespace macadam::cuda
