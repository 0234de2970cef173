// Nearest and bilinear up-sampling.

#include "engine/graph/layers/factories.h"

namespace macadam::layers {

namespace {

class Upsample final : public Layer {
 public:
  Upsample(const UpsampleLayer& layer, const LayerContext& context)
      : bilinear_(layer.bilinear), corners_(layer.corners), ops_(context.ops) {}

  void forward(const Bindings& b) override {
    if (bilinear_) {
      ops_.upsample->bilinear(b.inputs[0], b.output, corners_);
    } else {
      ops_.upsample->nearest(b.inputs[0], b.output);
    }
  }
  void backward(const Bindings& b) override {
    if (b.input_gradients[0].data == nullptr) return;
    if (bilinear_) {
      ops_.upsample->bilinear_backward(b.output_gradient, b.input_gradients[0], corners_,
                                       b.accumulate[0]);
    } else {
      ops_.upsample->nearest_backward(b.output_gradient, b.input_gradients[0], b.accumulate[0]);
    }
  }

 private:
  bool bilinear_, corners_;
  Ops& ops_;
};

}  // namespace

std::unique_ptr<Layer> make(const UpsampleLayer& layer, const LayerContext& context) {
  return std::make_unique<Upsample>(layer, context);
}

}  // namespace macadam::layers
