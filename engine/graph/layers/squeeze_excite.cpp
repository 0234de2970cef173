// The gates of squeeze and excitation (Hu et al., 2018): two 1 x 1 convolutions of the channels'
// means, computed together.

#include "base/round_up.h"
#include "base/to_size.h"
#include "engine/graph/layers/factories.h"

namespace macadam::layers {

namespace {

class SqueezeExcite final : public Layer {
 public:
  SqueezeExcite(const SqueezeExciteLayer& layer, const LayerContext& context) : ops_(context.ops) {
    const Shape means = context.graph.shape(context.node.inputs[0]);
    desc_.images = means.n;
    desc_.channels = means.c;
    desc_.hidden = layer.hidden;
    desc_.activation = layer.activation;
    desc_.gate = layer.gate;
    desc_.dtype = context.dtype;
    if (context.training) {
      saved_ = to_size(desc_.squeezed().elements()) * sizeof(float);
      workspace_ = round_up(ops_.squeeze_excite->workspace_bytes(desc_), kMemoryAlignment);
    }
  }

  LayerNeeds needs() const override {
    const auto means = to_size(desc_.vectors().elements()) * size_of(desc_.dtype);
    return {.backward_reads_input = true,
            .backward_reads_output = true,
            .writes_slices = false,
            .reads_slices = false,
            .saved = saved_,
            .packed = ops_.squeeze_excite->packed_bytes(desc_),
            .backward = {workspace_ + means}};
  }

  void pack(std::span<const Tensor> parameters, void* packed, void*) override {
    ops_.squeeze_excite->pack(desc_, view(parameters), packed);
  }
  std::vector<Cast> pack_casts(std::span<const Tensor> parameters, void* packed) const override {
    return ops_.squeeze_excite->casts(desc_, view(parameters), packed);
  }
  void forward(const Bindings& b) override {
    ops_.squeeze_excite->gates(desc_, b.inputs[0], b.packed, squeezed(b), b.output);
  }
  void backward(const Bindings& b) override {
    require(!b.accumulate[0], "the means have one reader");
    Tensor dmeans = b.input_gradients[0];
    if (dmeans.data == nullptr) {  // nobody wants it
      auto* scratch = static_cast<std::byte*>(b.workspace) + workspace_;
      dmeans = Tensor(scratch, desc_.vectors(), desc_.dtype, b.output.device);
    }
    ops_.squeeze_excite->backward(desc_, b.inputs[0], b.packed, squeezed(b), b.output,
                                  b.output_gradient, dmeans, view(b.parameter_gradients),
                                  b.workspace);
  }

 private:
  static SqueezeExciteParameters view(std::span<const Tensor> tensors) {
    return {tensors[0], tensors[1], tensors[2], tensors[3]};
  }
  Tensor squeezed(const Bindings& b) const {
    if (saved_ == 0) return {};
    return Tensor(b.saved, desc_.squeezed(), DType::f32, b.output.device);
  }

  Ops& ops_;
  SqueezeExciteDesc desc_;
  size_t saved_ = 0, workspace_ = 0;
};

}  // namespace

std::unique_ptr<Layer> make(const SqueezeExciteLayer& layer, const LayerContext& context) {
  return std::make_unique<SqueezeExcite>(layer, context);
}

}  // namespace macadam::layers
