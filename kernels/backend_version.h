#pragma once
// The libraries behind a device's ops, for people.

#include <string>

#include "kernels/tensor.h"

namespace macadam {

/// "oneDNN 2.6.3", "cuDNN 9.19.0, CUDA 13.0". Requires a device of this build.
std::string backend_version(Device device);

}  // namespace macadam
