// Batch normalisation with an optional ReLU.

#include "engine/layers/factories.h"

namespace macadam::layers {

namespace {

class BatchNorm final : public Layer {
 public:
  BatchNorm(const BatchNormLayer& layer, const LayerContext& context)
      : desc_(layer.desc),
        ops_(context.ops),
        training_(context.training),
        shape_(context.graph.shape(context.node.output)) {}

  bool backward_reads_input() const override { return true; }
  bool backward_reads_output() const override { return desc_.relu; }
  size_t saved_bytes() const override { return training_ ? 2 * vector_bytes() : 0; }
  size_t forward_workspace() const override {
    return training_ ? ops_.norm->workspace_bytes(shape_) : 0;
  }
  size_t backward_workspace(bool, bool) const override {
    return ops_.norm->workspace_bytes(shape_);
  }

  void forward(const Bindings& b) override {
    const auto& p = b.parameters;
    if (training_) {
      ops_.norm->train(desc_, b.inputs[0], p[0], p[1], p[2], p[3], saved(b, 0), saved(b, 1),
                       b.output, b.workspace);
    } else {
      ops_.norm->infer(desc_, b.inputs[0], p[0], p[1], p[2], p[3], b.output);
    }
  }

  // An input gradient that must be added to is first made in the output gradient's memory.
  void backward(const Bindings& b) override {
    const bool direct = b.input_gradients[0].data != nullptr && !b.accumulate[0];
    const Tensor& dx = direct ? b.input_gradients[0] : b.output_gradient;
    ops_.norm->backward(desc_, b.inputs[0], b.output, b.output_gradient, b.parameters[0],
                        saved(b, 0), saved(b, 1), dx, b.parameter_gradients[0],
                        b.parameter_gradients[1], b.workspace);
    if (b.input_gradients[0].data != nullptr && !direct) {
      ops_.elementwise->copy(dx, b.input_gradients[0], true);
    }
  }

 private:
  size_t vector_bytes() const {
    return (sizeof(float) * static_cast<size_t>(shape_.c) + 255) / 256 * 256;
  }
  Tensor saved(const Bindings& b, size_t index) const {
    return Tensor(static_cast<std::byte*>(b.saved) + index * vector_bytes(), {1, 1, 1, shape_.c},
                  DType::f32, b.output.device);
  }

  BatchNormDesc desc_;
  Ops& ops_;
  bool training_;
  Shape shape_;
};

}  // namespace

std::unique_ptr<Layer> make(const BatchNormLayer& layer, const LayerContext& context) {
  return std::make_unique<BatchNorm>(layer, context);
}

}  // namespace macadam::layers
