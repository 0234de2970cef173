#include "kernels/ops.h"

#include "kernels/cpu/cpu_ops.h"
#if defined(MACADAM_HAS_CUDA)
#include "kernels/cuda/cuda_ops.h"
#endif

namespace macadam {

namespace {

#if !defined(MACADAM_HAS_ONEDNN)
class NoConvOps final : public ConvOps {
 public:
  std::unique_ptr<Convolution> make(const ConvDesc&) override {
    throw InputError("this build has no CPU convolutions", "device cpu",
                     "configure with -DMACADAM_ONEDNN=ON, or use --device cuda");
  }
};
#endif

Ops make_cpu_ops(Stream& stream) {
  Ops ops;
#if defined(MACADAM_HAS_ONEDNN)
  ops.conv = cpu::make_conv_ops();
#else
  ops.conv = std::make_unique<NoConvOps>();
#endif
  ops.norm = cpu::make_norm_ops();
  ops.activation = cpu::make_activation_ops();
  ops.channel = cpu::make_channel_ops();
  ops.epilogue = cpu::make_epilogue_ops();
  ops.pool = cpu::make_pool_ops();
  ops.squeeze_excite = cpu::make_squeeze_excite_ops();
  ops.upsample = cpu::make_upsample_ops();
  ops.elementwise = cpu::make_elementwise_ops();
  ops.loss = cpu::make_loss_ops();
  ops.confusion = cpu::make_confusion_ops();
  ops.optim = cpu::make_optim_ops();
  ops.augment = make_augment_ops(stream);
  return ops;
}

#if defined(MACADAM_HAS_CUDA)
Ops make_cuda_ops(Stream& stream) {
  Ops ops;
  ops.conv = cuda::make_conv_ops(stream);
  ops.norm = cuda::make_norm_ops(stream);
  ops.activation = cuda::make_activation_ops(stream);
  ops.channel = cuda::make_channel_ops(stream);
  ops.epilogue = cuda::make_epilogue_ops(stream);
  ops.pool = cuda::make_pool_ops(stream);
  ops.squeeze_excite = cuda::make_squeeze_excite_ops(stream);
  ops.upsample = cuda::make_upsample_ops(stream);
  ops.elementwise = cuda::make_elementwise_ops(stream);
  ops.loss = cuda::make_loss_ops(stream);
  ops.confusion = cuda::make_confusion_ops(stream);
  ops.optim = cuda::make_optim_ops(stream);
  ops.augment = make_augment_ops(stream);
  return ops;
}
#endif

}  // namespace

Ops make_ops(Stream& stream) {
#if defined(MACADAM_HAS_CUDA)
  if (stream.device().is_cuda()) return make_cuda_ops(stream);
#endif
  require(!stream.device().is_cuda(), "a CUDA stream exists only in a build with CUDA");
  return make_cpu_ops(stream);
}

std::unique_ptr<AugmentOps> make_augment_ops(Stream& stream) {
#if defined(MACADAM_HAS_CUDA)
  if (stream.device().is_cuda()) return cuda::make_augment_ops(stream);
#endif
  require(!stream.device().is_cuda(), "a CUDA stream exists only in a build with CUDA");
  return cpu::make_augment_ops();
}

}  // namespace macadam
