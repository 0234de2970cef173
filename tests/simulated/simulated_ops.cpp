// The CUDA backend's doors, led to the emulated kernels.

#include "emulated_ops.h"
#include "kernels/cuda/cuda_ops.h"
#include "tests/simulated/simulated_conv.h"

namespace macadam::cuda {

std::string library_version() { return "simulated"; }

std::unique_ptr<ConvOps> make_conv_ops(Stream& stream) { return simulated::make_conv_ops(stream); }

// A family alone is made from all of them, which are no more than names of kernels.
std::unique_ptr<NormOps> make_norm_ops(Stream& s) { return emulated::make_ops(s).norm; }
std::unique_ptr<ActivationOps> make_activation_ops(Stream& s) {
  return emulated::make_ops(s).activation;
}
std::unique_ptr<ChannelOps> make_channel_ops(Stream& s) { return emulated::make_ops(s).channel; }
std::unique_ptr<EpilogueOps> make_epilogue_ops(Stream& s) { return emulated::make_ops(s).epilogue; }
std::unique_ptr<PoolOps> make_pool_ops(Stream& s) { return emulated::make_ops(s).pool; }
std::unique_ptr<SqueezeExciteOps> make_squeeze_excite_ops(Stream& s) {
  return emulated::make_ops(s).squeeze_excite;
}
std::unique_ptr<UpsampleOps> make_upsample_ops(Stream& s) { return emulated::make_ops(s).upsample; }
std::unique_ptr<ElementwiseOps> make_elementwise_ops(Stream& s) {
  return emulated::make_ops(s).elementwise;
}
std::unique_ptr<LossOps> make_loss_ops(Stream& s) { return emulated::make_ops(s).loss; }
std::unique_ptr<ConfusionOps> make_confusion_ops(Stream& s) {
  return emulated::make_ops(s).confusion;
}
std::unique_ptr<OptimOps> make_optim_ops(Stream& s) { return emulated::make_ops(s).optim; }
std::unique_ptr<AugmentOps> make_augment_ops(Stream& s) { return emulated::make_ops(s).augment; }

}  // namespace macadam::cuda
