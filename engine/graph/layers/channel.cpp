// Squeeze and excitation's halves (Hu et al., 2018): the mean of each channel over the image, and
// one factor a channel.

#include "engine/graph/layers/factories.h"

namespace macadam::layers {

namespace {

class GlobalAveragePool final : public Layer {
 public:
  explicit GlobalAveragePool(const LayerContext& context)
      : ops_(context.ops),
        workspace_(ops_.channel->workspace_bytes(context.graph.shape(context.node.inputs[0]))) {}

  LayerNeeds needs() const override { return {.writes_slices = false, .forward = {workspace_}}; }
  void forward(const Bindings& b) override {
    ops_.channel->mean(b.inputs[0], b.output, b.workspace);
  }
  void backward(const Bindings& b) override {
    if (b.input_gradients[0].data == nullptr) return;
    ops_.channel->mean_backward(b.output_gradient, b.input_gradients[0], b.accumulate[0]);
  }

 private:
  Ops& ops_;
  size_t workspace_;
};

class Scale final : public Layer {
 public:
  explicit Scale(const LayerContext& context)
      : ops_(context.ops),
        workspace_(ops_.channel->workspace_bytes(context.graph.shape(context.node.inputs[0]))) {}

  LayerNeeds needs() const override {
    return {.backward_reads_input = true, .backward = {workspace_}};
  }
  void forward(const Bindings& b) override {
    ops_.channel->scale(b.inputs[0], b.inputs[1], b.output);
  }
  void backward(const Bindings& b) override {
    require(!b.accumulate[1], "the factors have one reader");
    ops_.channel->scale_backward(b.inputs[0], b.inputs[1], b.output_gradient, b.input_gradients[0],
                                 b.accumulate[0], b.input_gradients[1], b.workspace);
  }

 private:
  Ops& ops_;
  size_t workspace_;
};

}  // namespace

std::unique_ptr<Layer> make(const GlobalAveragePoolLayer&, const LayerContext& context) {
  return std::make_unique<GlobalAveragePool>(context);
}
std::unique_ptr<Layer> make(const ScaleLayer&, const LayerContext& context) {
  return std::make_unique<Scale>(context);
}

}  // namespace macadam::layers
