// The CUDA backend's doors, led to the emulated kernels.

#include "emulated_ops.h"
#include "kernels/cuda/cuda_ops.h"
#include "tests/simulated/simulated_conv.h"

namespace macadam::cuda {

std::string library_version() { return "simulated"; }

Ops make_ops(Stream& stream) {
  Ops ops = emulated::make_ops(stream);
  ops.conv = simulated::make_conv_ops(stream);
  return ops;
}

std::unique_ptr<AugmentOps> make_augment_ops(Stream& stream) {
  return emulated::make_ops(stream).augment;
}

}  // namespace macadam::cuda
