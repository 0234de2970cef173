#include "kernels/free_memory.h"

#include "base/host_memory.h"
#include "kernels/device.h"
#if defined(MACADAM_HAS_CUDA)
#include "kernels/cuda/cuda_ops.h"
#endif

namespace macadam {

size_t free_memory(Device device) {
  const size_t all = device_info(device).memory_bytes;
#if defined(MACADAM_HAS_CUDA)
  if (device.is_cuda()) return cuda::free_memory(device.index);
#endif
  return free_host_memory().value_or(all);
}

}  // namespace macadam
