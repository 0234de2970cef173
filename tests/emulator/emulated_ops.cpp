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

std::unique_ptr<ConvOps> make_conv_ops(Stream& stream) {
  return std::make_unique<EmulatedConvOps>(stream);
}

Ops make_ops() {
  static Stream stream{Device{}};
  return emulated::make_ops(stream);
}

}  // namespace macadam::emulated
