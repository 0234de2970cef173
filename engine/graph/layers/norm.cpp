// Batch normalisation with an activation behind it, and before that an addition where a rewrite has
// joined one.

#include "base/round_up.h"
#include "base/to_size.h"
#include "engine/graph/layers/factories.h"

namespace macadam::layers {

namespace {

class BatchNorm final : public Layer {
 public:
  BatchNorm(const BatchNormLayer& layer, const LayerContext& context)
      : desc_(layer.desc),
        ops_(context.ops),
        training_(context.training),
        shape_(context.graph.shape(context.node.output)),
        workspace_(align(ops_.norm->workspace_bytes(shape_))),
        fixed_scale_(context.graph.parameters()[scale_of(context.node)].role ==
                     ParameterRole::fixed_scale) {
    desc_.drop_path = {layer.drop_path, context.seed, layer.drop_path_id, context.state};
  }

  LayerNeeds needs() const override {
    return {.backward_reads_first = true,
            .backward_reads_output = desc_.backward_reads_output(),
            .backward_in_place = true,
            .in_place_input = desc_.adds ? size_t{1} : size_t{0},
            .saved = training_ ? 2 * vector_bytes() : 0,
            .forward = {training_ ? workspace_ : 0},
            .backward = {workspace_ + (fixed_scale_ ? vector_bytes() : 0)}};
  }

  void forward(const Bindings& b) override {
    const auto& p = b.parameters;
    if (training_) {
      ops_.norm->train(desc_, b.inputs[0], p[0], p[1], p[2], p[3], saved(b, 0), saved(b, 1),
                       desc_.adds ? b.inputs[1] : Tensor(), b.output, b.workspace);
    } else {
      ops_.norm->infer(desc_, b.inputs[0], p[0], p[1], p[2], p[3], b.output);
    }
  }

  // An input gradient that must be added to is first made in the output gradient's memory (not
  // where something is added: then the input has one reader), and the gradient of a fixed scale in
  // the workspace.
  void backward(const Bindings& b) override {
    require(!desc_.adds || !b.accumulate[0], "the input of a norm that adds has one reader");
    const Tensor& dx = b.accumulate[0] ? b.output_gradient : b.input_gradients[0];
    // Only the mean over each image has a gradient.
    if (b.only_pooled) ops_.elementwise->fill(b.output_gradient, 0);
    SkipGradient skip;
    if (desc_.adds) skip = {b.output, b.input_gradients[1], b.accumulate[1]};
    const Tensor dgamma = fixed_scale_
                              ? vector(static_cast<std::byte*>(b.workspace) + workspace_, b)
                              : b.parameter_gradients[0];
    ops_.norm->backward(desc_, b.inputs[0], b.output_gradient, b.pooled_gradient, b.parameters[0],
                        b.parameters[1], saved(b, 0), saved(b, 1), skip, dx, dgamma,
                        b.parameter_gradients[1], b.workspace);
    if (b.accumulate[0]) ops_.elementwise->copy(dx, b.input_gradients[0], true);
  }

 private:
  static size_t scale_of(const Node& node) { return to_size(node.parameters[0]); }
  static constexpr size_t align(size_t bytes) { return round_up(bytes, kMemoryAlignment); }
  size_t vector_bytes() const { return align(sizeof(float) * to_size(shape_.c)); }
  Tensor vector(std::byte* data, const Bindings& b) const {
    return Tensor(data, {1, 1, 1, shape_.c}, DType::f32, b.output.device);
  }
  Tensor saved(const Bindings& b, size_t index) const {
    return vector(static_cast<std::byte*>(b.saved) + index * vector_bytes(), b);
  }

  BatchNormDesc desc_;
  Ops& ops_;
  bool training_;
  Shape shape_;
  size_t workspace_;
  bool fixed_scale_;
};

}  // namespace

std::unique_ptr<Layer> make(const BatchNormLayer& layer, const LayerContext& context) {
  return std::make_unique<BatchNorm>(layer, context);
}

}  // namespace macadam::layers
