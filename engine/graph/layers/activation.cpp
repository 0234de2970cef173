// Activations, dropout and stochastic depth that no rewrite folded into the layer before them.

#include "engine/graph/layers/factories.h"

namespace macadam::layers {

namespace {

class Activate final : public Layer {
 public:
  Activate(const ActivationLayer& layer, const LayerContext& context)
      : kind_(layer.kind), ops_(context.ops) {}

  LayerNeeds needs() const override {
    return {.backward_reads_input = gradient_reads_input(kind_),
            .backward_reads_output = !gradient_reads_input(kind_),
            .backward_in_place = true};
  }
  void forward(const Bindings& b) override {
    ops_.activation->activate(kind_, b.inputs[0], b.output);
  }
  void backward(const Bindings& b) override {
    if (b.input_gradients[0].data == nullptr) return;
    ops_.activation->activate_backward(kind_, gradient_reads_input(kind_) ? b.inputs[0] : b.output,
                                       b.output_gradient, b.input_gradients[0], b.accumulate[0]);
  }

 private:
  Activation kind_;
  Ops& ops_;
};

class DropoutMask final : public Layer {
 public:
  DropoutMask(const DropoutLayer& layer, const LayerContext& context)
      : ops_(context.ops), dropout_{layer.p, context.seed, layer.id, context.state} {
    require(context.training, "inference graphs have no dropout");
  }

  LayerNeeds needs() const override { return {.backward_in_place = true}; }
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

class DropPath final : public Layer {
 public:
  DropPath(const DropPathLayer& layer, const LayerContext& context)
      : ops_(context.ops), dropout_{layer.p, context.seed, layer.id, context.state} {
    require(context.training, "inference graphs drop nothing");
  }

  LayerNeeds needs() const override { return {.backward_in_place = true}; }
  void forward(const Bindings& b) override {
    ops_.activation->drop_path(b.inputs[0], b.output, dropout_, false);
  }
  void backward(const Bindings& b) override {
    if (b.input_gradients[0].data == nullptr) return;
    ops_.activation->drop_path(b.output_gradient, b.input_gradients[0], dropout_, b.accumulate[0]);
  }

 private:
  Ops& ops_;
  Dropout dropout_;
};

}  // namespace

std::unique_ptr<Layer> make(const ActivationLayer& layer, const LayerContext& context) {
  return std::make_unique<Activate>(layer, context);
}
std::unique_ptr<Layer> make(const DropoutLayer& layer, const LayerContext& context) {
  return std::make_unique<DropoutMask>(layer, context);
}
std::unique_ptr<Layer> make(const DropPathLayer& layer, const LayerContext& context) {
  return std::make_unique<DropPath>(layer, context);
}

}  // namespace macadam::layers
