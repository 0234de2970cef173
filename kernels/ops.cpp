#include "kernels/ops.h"

#include "kernels/cpu/cpu_ops.h"
#if defined(MACADAM_HAS_CUDA)
#include "kernels/cuda/cuda_ops.h"
#endif

namespace macadam {

Ops make_ops(Stream& stream) {
#if defined(MACADAM_HAS_CUDA)
  if (stream.device().is_cuda()) return cuda::make_ops(stream);
#endif
  require(!stream.device().is_cuda(), "a CUDA stream exists only in a build with CUDA");
  return cpu::make_ops();
}

std::unique_ptr<AugmentOps> make_augment_ops(Stream& stream) {
#if defined(MACADAM_HAS_CUDA)
  if (stream.device().is_cuda()) return cuda::make_augment_ops(stream);
#endif
  require(!stream.device().is_cuda(), "a CUDA stream exists only in a build with CUDA");
  return cpu::make_augment_ops();
}

}  // namespace macadam
