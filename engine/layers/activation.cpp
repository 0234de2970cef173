// ReLU and dropout that no rewrite could fold into the layer before them.

#include "engine/layers/factories.h"

namespace macadam::layers {

namespace {

class Relu final : public Layer {
 public:
  explicit Relu(const LayerContext& context) : ops_(context.ops) {}

  bool backward_reads_output() const override { return true; }
  void forward(const Bindings& b) override { ops_.activation->relu(b.inputs[0], b.output); }
  void backward(const Bindings& b) override {
    if (b.input_gradients[0].data == nullptr) return;
    ops_.activation->relu_backward(b.output, b.output_gradient, b.input_gradients[0], 1.0f,
                                   b.accumulate[0]);
  }

 private:
  Ops& ops_;
};

class DropoutMask final : public Layer {
 public:
  DropoutMask(const DropoutLayer& layer, const LayerContext& context)
      : ops_(context.ops), dropout_{layer.p, context.seed, layer.id, context.state} {
    require(context.training, "inference graphs have no dropout");
  }

  void forward(const Bindings& b) override {
    ops_.activation->dropout(b.inputs[0], b.output, dropout_);
  }
  void backward(const Bindings& b) override {
    if (b.input_gradients[0].data == nullptr) return;
    ops_.activation->dropout_backward(b.output_gradient, b.input_gradients[0], dropout_,
                                      b.accumulate[0]);
  }

 private:
  Ops& ops_;
  Dropout dropout_;
};

}  // namespace

std::unique_ptr<Layer> make(const ReluLayer&, const LayerContext& context) {
  return std::make_unique<Relu>(context);
}
std::unique_ptr<Layer> make(const DropoutLayer& layer, const LayerContext& context) {
  return std::make_unique<DropoutMask>(layer, context);
}

}  // namespace macadam::layers
