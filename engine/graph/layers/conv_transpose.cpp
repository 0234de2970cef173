// Transposed convolution: the data gradient of a convolution run forward (Dumoulin and Visin, 2016,
// section 4), and that convolution itself run for the gradient.

#include <algorithm>

#include "base/round_up.h"
#include "base/to_size.h"
#include "engine/graph/layers/factories.h"

namespace macadam::layers {

namespace {

constexpr size_t align(size_t bytes) { return round_up(bytes, kMemoryAlignment); }

class ConvTranspose final : public Layer {
 public:
  ConvTranspose(const ConvTransposeLayer& layer, const LayerContext& context)
      : layer_(layer), ops_(context.ops) {
    ConvDesc desc = context.graph.mirrored_desc(context.node);
    desc.dtype = context.dtype;
    desc.backward = true;
    mirror_ = ops_.conv->make(desc);
    input_bytes_ = align(to_size(desc.output().elements()) * size_of(desc.dtype));
    output_bytes_ = align(to_size(desc.input.elements()) * size_of(desc.dtype));
    epilogue_bytes_ = ops_.epilogue->workspace_bytes(desc.input);
  }

  /// Patches and their gradient lie dense where a slice is their place.
  LayerNeeds needs() const override {
    return {.backward_reads_input = true,
            .reads_slices = false,
            .packed = mirror_->packed_bytes(),
            .forward = {.bytes = align(mirror_->workspace_bytes()), .of_slice = output_bytes_},
            .backward = {.bytes = backward_call_bytes(),
                         .of_slice = output_bytes_,
                         .of_sum = input_bytes_},
            .weight_gradient = mirror_->weight_gradient_dtype()};
  }
  bool packs_like(const Layer& other) const override {
    const auto* same = dynamic_cast<const ConvTranspose*>(&other);
    return same != nullptr && mirror_->packs_like(*same->mirror_);
  }
  std::string implementation() const override { return mirror_->implementation(); }

  void pack(std::span<const Tensor> parameters, void* packed, void*) override {
    mirror_->pack(parameters[0], Tensor(), packed);
  }

  std::vector<Cast> pack_casts(std::span<const Tensor> parameters, void* packed) const override {
    return mirror_->casts(parameters[0], Tensor(), packed);
  }

  void forward(const Bindings& b) override {
    Tensor patches = b.output;
    if (!patches.dense()) {
      patches = Tensor(static_cast<std::byte*>(b.workspace) + align(mirror_->workspace_bytes()),
                       patches.shape, patches.dtype, patches.device);
    }
    mirror_->backward_data(b.inputs[0], b.packed, patches, b.workspace);
    if (layer_.bias) {
      ops_.channel->add_bias(patches, b.parameters[1], b.output);
    } else if (patches.data != b.output.data) {
      ops_.elementwise->copy(patches, b.output, false);
    }
  }

  void backward(const Bindings& b) override {
    auto* scratch = static_cast<std::byte*>(b.workspace) + backward_call_bytes();
    Tensor dy = b.output_gradient;
    if (!dy.dense()) {  // convolutions want it dense
      dy = Tensor(scratch, dy.shape, dy.dtype, dy.device);
      scratch += output_bytes_;
    }
    const Tensor dbias = layer_.bias ? b.parameter_gradients[1] : Tensor();
    ops_.epilogue->backward({}, {.dy = b.output_gradient, .dz = dy, .dbias = dbias}, b.workspace);
    mirror_->backward_weights(dy, b.inputs[0], b.parameter_gradients[0], b.workspace);

    const Tensor& dx = b.input_gradients[0];
    if (dx.data == nullptr) return;
    if (!b.accumulate[0]) {
      mirror_->forward(dy, b.packed, dx, b.workspace);
    } else {
      const Tensor part(scratch, dx.shape, dx.dtype, dx.device);
      mirror_->forward(dy, b.packed, part, b.workspace);
      ops_.elementwise->copy(part, dx, true);
    }
  }

 private:
  /// Workspace of the calls of a backward pass, which come one after the other.
  size_t backward_call_bytes() const {
    return align(std::max(mirror_->workspace_bytes(), epilogue_bytes_));
  }

  ConvTransposeLayer layer_;
  Ops& ops_;
  std::unique_ptr<Convolution> mirror_;
  size_t input_bytes_ = 0, output_bytes_ = 0, epilogue_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Layer> make(const ConvTransposeLayer& layer, const LayerContext& context) {
  return std::make_unique<ConvTranspose>(layer, context);
}

}  // namespace macadam::layers
