// Transposed convolution: the data gradient of a convolution run forward (Dumoulin and Visin, 2016,
// section 4), and that convolution itself run for the gradient.

#include <algorithm>

#include "engine/graph/layers/factories.h"

namespace macadam::layers {

namespace {

constexpr size_t align(size_t bytes) { return (bytes + 255) / 256 * 256; }

class ConvTranspose final : public Layer {
 public:
  ConvTranspose(const ConvTransposeLayer& layer, const LayerContext& context)
      : layer_(layer), ops_(context.ops) {
    ConvDesc desc = context.graph.mirrored_desc(context.node);
    desc.dtype = context.dtype;
    desc.backward = true;
    mirror_ = ops_.conv->make(desc);
    input_bytes_ = align(static_cast<size_t>(desc.output().elements()) * size_of(desc.dtype));
    output_bytes_ = align(static_cast<size_t>(desc.input.elements()) * size_of(desc.dtype));
    sum_bytes_ = layer.bias ? ops_.channel->workspace_bytes(desc.input) : 0;
  }

  bool backward_reads_input() const override { return true; }
  bool writes_slices() const override { return false; }
  bool reads_slices() const override { return false; }
  size_t packed_bytes() const override { return mirror_->packed_bytes(); }
  bool packs_like(const Layer& other) const override {
    const auto* same = dynamic_cast<const ConvTranspose*>(&other);
    return same != nullptr && mirror_->packs_like(*same->mirror_);
  }
  size_t forward_workspace() const override { return mirror_->workspace_bytes(); }
  size_t backward_workspace(bool gradient_is_slice, bool accumulates) const override {
    return align(std::max(mirror_->workspace_bytes(), sum_bytes_)) +
           (gradient_is_slice ? output_bytes_ : 0) + (accumulates ? input_bytes_ : 0);
  }
  DType weight_gradient_dtype() const override { return mirror_->weight_gradient_dtype(); }
  std::string implementation() const override { return mirror_->implementation(); }

  void pack(const Bindings& b, void*) override {
    mirror_->pack(b.parameters[0], Tensor(), b.packed);
  }

  std::vector<Convolution::Cast> pack_casts(const Bindings& b) const override {
    return mirror_->casts(b.parameters[0], Tensor(), b.packed);
  }

  void forward(const Bindings& b) override {
    mirror_->backward_data(b.inputs[0], b.packed, b.output, b.workspace);
    if (layer_.bias) ops_.channel->add_bias(b.output, b.parameters[1], b.output);
  }

  void backward(const Bindings& b) override {
    auto* scratch = static_cast<std::byte*>(b.workspace) +
                    align(std::max(mirror_->workspace_bytes(), sum_bytes_));
    Tensor dy = b.output_gradient;
    if (layer_.bias) ops_.channel->sum(dy, b.parameter_gradients[1], b.workspace);
    if (!dy.dense()) {  // convolutions want it dense
      dy = Tensor(scratch, dy.shape, dy.dtype, dy.device);
      ops_.elementwise->copy(b.output_gradient, dy, false);
      scratch += output_bytes_;
    }
    mirror_->backward_weights(dy, b.inputs[0], b.parameter_gradients[0], Tensor(), b.workspace);

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
  ConvTransposeLayer layer_;
  Ops& ops_;
  std::unique_ptr<Convolution> mirror_;
  size_t input_bytes_ = 0, output_bytes_ = 0, sum_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Layer> make(const ConvTransposeLayer& layer, const LayerContext& context) {
  return std::make_unique<ConvTranspose>(layer, context);
}

}  // namespace macadam::layers
