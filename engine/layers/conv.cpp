// Convolution with its epilogue: bias or a folded batch norm, activation and dropout.

#include "engine/layers/factories.h"

namespace macadam::layers {

namespace {

constexpr size_t align(size_t bytes) { return (bytes + 255) / 256 * 256; }

class Conv final : public Layer {
 public:
  Conv(const ConvLayer& layer, const LayerContext& context)
      : layer_(layer), ops_(context.ops), learns_(context.parameter_gradients) {
    ConvDesc desc = context.graph.conv_desc(context.node);
    desc.dtype = context.dtype;
    desc.backward = context.training && (learns_ || context.input_gradient);
    desc.input_gradient = context.input_gradient;
    conv_ = ops_.conv->make(desc);
    input_bytes_ = align(static_cast<size_t>(desc.input.elements()) * size_of(desc.dtype));
    output_bytes_ = align(static_cast<size_t>(desc.output().elements()) * size_of(desc.dtype));
    weights_bytes_ = align(static_cast<size_t>(desc.weights().elements()) * sizeof(float));
    if (context.training) dropout_ = {layer.dropout, context.seed, layer.dropout_id, context.state};
  }

  bool backward_reads_input() const override { return learns_; }
  bool backward_reads_output() const override { return layer_.activation != Activation::identity; }
  bool writes_slices() const override { return false; }
  bool reads_slices() const override { return false; }
  size_t packed_bytes() const override { return conv_->packed_bytes(); }
  size_t pack_workspace() const override {
    return layer_.folded_norm ? weights_bytes_ + sizeof(float) * layer_.out_channels : 0;
  }
  size_t forward_workspace() const override { return conv_->workspace_bytes(); }
  size_t backward_workspace(bool gradient_is_slice, bool accumulates) const override {
    return align(conv_->workspace_bytes()) + (gradient_is_slice ? output_bytes_ : 0) +
           (accumulates ? input_bytes_ : 0);
  }
  std::string implementation() const override { return conv_->implementation(); }

  void pack(const Bindings& b, void* workspace) override {
    const Tensor& weights = b.parameters[0];
    const Tensor bias = layer_.bias ? b.parameters[1] : Tensor();
    if (!layer_.folded_norm) {
      conv_->pack(weights, bias, b.packed);
      return;
    }
    auto* memory = static_cast<std::byte*>(workspace);
    const Tensor folded(memory, weights.shape, DType::f32, weights.device);
    const Tensor shift(memory + weights_bytes_, {1, 1, 1, layer_.out_channels}, DType::f32,
                       weights.device);
    const std::span<const Tensor> norm = std::span(b.parameters).last(4);
    ops_.norm->fold(*layer_.folded_norm, weights, bias, norm[0], norm[1], norm[2], norm[3], folded,
                    shift);
    conv_->pack(folded, shift, b.packed);
  }

  std::vector<Convolution::Cast> pack_casts(const Bindings& b) const override {
    if (layer_.folded_norm) return {};
    return conv_->casts(b.parameters[0], layer_.bias ? b.parameters[1] : Tensor(), b.packed);
  }

  void forward(const Bindings& b) override {
    conv_->forward(b.inputs[0], b.packed, b.output, b.workspace);
    if (dropout_.p > 0) ops_.activation->dropout(b.output, b.output, dropout_);
  }

  void backward(const Bindings& b) override {
    auto* scratch = static_cast<std::byte*>(b.workspace) + align(conv_->workspace_bytes());
    // The gradient before the activation, dense as convolutions want it.
    Tensor dz = b.output_gradient;
    if (!dz.dense()) {
      dz = Tensor(scratch, dz.shape, dz.dtype, dz.device);
      scratch += output_bytes_;
    }
    if (layer_.activation == Activation::relu) {
      const float scale = dropout_.p > 0 ? dropout_.scale() : 1.0f;
      ops_.activation->relu_backward(b.output, b.output_gradient, dz, scale, false);
    } else if (layer_.activation != Activation::identity) {
      ops_.activation->activate_backward(layer_.activation, b.output, b.output_gradient, dz, false);
    } else if (!b.output_gradient.dense()) {
      ops_.elementwise->copy(b.output_gradient, dz, false);
    }
    if (learns_) {
      const Tensor db = layer_.bias ? b.parameter_gradients[1] : Tensor();
      conv_->backward_weights(b.inputs[0], dz, b.parameter_gradients[0], db, b.workspace);
    }

    const Tensor& dx = b.input_gradients[0];
    if (dx.data == nullptr) return;
    if (!b.accumulate[0]) {
      conv_->backward_data(dz, b.packed, dx, b.workspace);
    } else {
      const Tensor part(scratch, dx.shape, dx.dtype, dx.device);
      conv_->backward_data(dz, b.packed, part, b.workspace);
      ops_.elementwise->copy(part, dx, true);
    }
  }

 private:
  ConvLayer layer_;
  Ops& ops_;
  bool learns_;
  Dropout dropout_;
  std::unique_ptr<Convolution> conv_;
  size_t input_bytes_ = 0, output_bytes_ = 0, weights_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Layer> make(const ConvLayer& layer, const LayerContext& context) {
  return std::make_unique<Conv>(layer, context);
}

}  // namespace macadam::layers
