#include "kernels/cuda/cuda_ops.h"

namespace macadam::cuda {

Ops make_ops(Stream& stream) {
  Ops ops;
#define MACADAM_MAKE(Family, name) ops.name = cuda::make_##name##_ops(stream);
  MACADAM_OP_FAMILIES(MACADAM_MAKE)
#undef MACADAM_MAKE
  return ops;
}

}  // namespace macadam::cuda
