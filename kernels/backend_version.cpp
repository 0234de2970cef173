#include "kernels/backend_version.h"

#include "kernels/cpu/cpu_ops.h"
#if defined(MACADAM_HAS_CUDA)
#include "kernels/cuda/cuda_ops.h"
#endif

namespace macadam {

std::string backend_version(Device device) {
#if defined(MACADAM_HAS_CUDA)
  if (device.is_cuda()) return cuda::library_version();
#endif
  require(!device.is_cuda(), "a device of this build");
#if defined(MACADAM_HAS_ONEDNN)
  return cpu::library_version();
#else
  return "no oneDNN: convolutions do not run on this device";
#endif
}

}  // namespace macadam
