#include "emulated_ops.h"

#include "as_emulated.h"
#include "kernels/cuda/cuda_ops.h"

namespace macadam::emulated {

namespace {

/// The convolutions that are handwritten.
class EmulatedConvOps final : public ConvOps {
 public:
  explicit EmulatedConvOps(Stream& stream) : stream_(stream) {}

  std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
    return make_depthwise(stream_, desc);
  }

 private:
  Stream& stream_;
};

}  // namespace

Ops make_ops(Stream& stream) {
  Ops ops;
  ops.conv = std::make_unique<EmulatedConvOps>(stream);
  ops.norm = make_norm_ops(stream);
  ops.activation = make_activation_ops(stream);
  ops.channel = make_channel_ops(stream);
  ops.epilogue = make_epilogue_ops(stream);
  ops.pool = make_pool_ops(stream);
  ops.squeeze_excite = make_squeeze_excite_ops(stream);
  ops.upsample = make_upsample_ops(stream);
  ops.elementwise = make_elementwise_ops(stream);
  ops.loss = make_loss_ops(stream);
  ops.confusion = make_confusion_ops(stream);
  ops.optim = make_optim_ops(stream);
  ops.augment = cuda::make_augment_ops(stream);
  return ops;
}

Ops make_ops() {
  static Stream stream{Device{}};
  return emulated::make_ops(stream);
}

}  // namespace macadam::emulated
