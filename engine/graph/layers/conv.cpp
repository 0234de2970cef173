// Convolution with its epilogue: bias or a folded batch norm, activation and dropout.

#include <algorithm>
#include <optional>

#include "base/round_up.h"
#include "base/to_size.h"
#include "engine/graph/folding.h"
#include "engine/graph/layers/factories.h"

namespace macadam::layers {

namespace {

constexpr size_t align(size_t bytes) { return round_up(bytes, kMemoryAlignment); }
size_t floats(const Shape& shape) { return align(to_size(shape.elements()) * sizeof(float)); }

/// Where `part` lies in padded weights, or a padded bias.
Tensor part_of(const Tensor& padded, const Shape& part) {
  Shape shape = padded.shape;
  shape.n = part.n;
  return Tensor(padded.data, shape, padded.dtype, padded.device).channels(0, part.c);
}

class Conv final : public Layer {
 public:
  Conv(const ConvLayer& layer, const LayerContext& context)
      : layer_(layer), ops_(context.ops), learns_(context.parameter_gradients) {
    ConvDesc desc = context.graph.conv_desc(context.node);
    const Shape weights = desc.weights();
    desc.input.c = context.graph.stored_channels(context.node.inputs[0]);
    desc.out_channels = context.graph.stored_channels(context.node.output);
    pads_input_ = desc.input.c != weights.c * layer.groups;
    pads_output_ = desc.out_channels != layer.out_channels;
    stored_weights_ = desc.weights();
    stored_bias_ = {1, 1, 1, desc.out_channels};
    pads_ = pads_input_ || pads_output_;
    makes_scores_ = context.node.output == context.graph.output();
    desc.dtype = context.dtype;
    desc.backward = context.training && (learns_ || context.input_gradient);
    desc.input_gradient = context.input_gradient;
    conv_ = ops_.conv->make(desc);
    input_bytes_ = align(to_size(desc.input.elements()) * size_of(desc.dtype));
    output_bytes_ = align(to_size(desc.output().elements()) * size_of(desc.dtype));
    epilogue_.activation = layer.activation;
    if (context.training) {
      dropout_ = {layer.dropout, context.seed, layer.dropout_id, context.state};
      if (layer.dropout > 0) epilogue_.scale = dropout_.scale();
      epilogue_.pool = joined_pool(context);
      epilogue_bytes_ = ops_.epilogue->workspace_bytes(context.graph.shape(context.node.output));
    }
    fold_bytes_ = folding_bytes(layer, weights);
    weights_ = weights;
    pad_bytes_ = pads_ ? floats(stored_weights_) + floats(stored_bias_) : 0;
  }

  LayerNeeds needs() const override {
    return {.backward_reads_input = learns_,
            .backward_reads_output = layer_.activation != Activation::identity,
            .writes_slices = false,
            .reads_slices = false,
            .packed = conv_->packed_bytes(),
            .pack_workspace = fold_bytes_ + pad_bytes_,
            .forward = {conv_->workspace_bytes()},
            .backward = {.bytes = backward_call_bytes() + (learns_ ? pad_bytes_ : 0),
                         .of_slice = pads_output_ ? 0 : output_bytes_,
                         .of_sum = input_bytes_},
            .weight_gradient = pads_ ? DType::f32 : conv_->weight_gradient_dtype()};
  }
  bool packs_like(const Layer& other) const override {
    const auto* same = dynamic_cast<const Conv*>(&other);
    return same != nullptr && stored_weights_ == same->stored_weights_ &&
           conv_->packs_like(*same->conv_);
  }
  std::string implementation() const override { return conv_->implementation(); }

  void pack(std::span<const Tensor> parameters, void* packed, void* workspace) override {
    Tensor weights = parameters[0];
    Tensor bias = layer_.bias ? parameters[1] : Tensor();
    auto* memory = static_cast<std::byte*>(workspace);
    if (folds_weights(layer_)) {
      const WeightsAndBias folded = fold_weights(layer_, weights_, parameters, memory, ops_);
      weights = folded.weights;
      bias = folded.bias;
    }
    if (pads_) {
      memory += fold_bytes_;
      weights = padded(weights, stored_weights_, memory);
      if (bias.data != nullptr) {
        bias = padded(bias, stored_bias_, memory + floats(stored_weights_));
      }
    }
    conv_->pack(weights, bias, packed);
  }

  std::vector<Cast> pack_casts(std::span<const Tensor> parameters, void* packed) const override {
    if (folds_weights(layer_) || pads_) return {};
    return conv_->casts(parameters[0], layer_.bias ? parameters[1] : Tensor(), packed);
  }

  void forward(const Bindings& b) override {
    conv_->forward(input(b.inputs[0]), b.packed, output(b.output), b.workspace);
    if (dropout_.p > 0) ops_.activation->dropout(b.output, b.output, dropout_);
  }

  void backward(const Bindings& b) override {
    auto* scratch = static_cast<std::byte*>(b.workspace) + backward_call_bytes();
    // The gradient before the bias, dense as convolutions want it.
    Tensor dz = b.output_gradient;
    if (!pads_output_ && !dz.dense()) {
      dz = Tensor(scratch, dz.shape, dz.dtype, dz.device);
      scratch += output_bytes_;
    }
    EpilogueTensors gradients{.y = b.output,
                              .dy = b.only_pooled ? Tensor() : b.output_gradient,
                              .dpooled = b.pooled_gradient,
                              .index = b.pooled_index,
                              .dz = dz,
                              .dbias = {}};
    if (learns_ && layer_.bias) gradients.dbias = b.parameter_gradients[1];
    ops_.epilogue->backward(epilogue_, gradients, b.workspace);
    if (pads_output_) {
      dz = output(dz);
      // Where the loss wrote it over the scores, there are zeros behind it already. Other gradients
      // may lie there as well, after something else did.
      if (!makes_scores_ || dz.data != b.output.data) {
        const int rest = dz.shape.c - layer_.out_channels;
        ops_.elementwise->fill(dz.channels(layer_.out_channels, rest), 0);
      }
    }
    if (learns_) {
      backward_weights(b, dz, scratch);
      scratch += pad_bytes_;
    }

    if (b.input_gradients[0].data == nullptr) return;
    const Tensor dx = input(b.input_gradients[0]);
    if (!b.accumulate[0]) {
      conv_->backward_data(dz, b.packed, dx, b.workspace);
    } else {
      const Tensor part(scratch, dx.shape, dx.dtype, dx.device);
      conv_->backward_data(dz, b.packed, part, b.workspace);
      ops_.elementwise->copy(part, dx, true);
    }
  }

 private:
  /// Values as they are stored, which is how convolutions take them.
  Tensor input(const Tensor& x) const { return pads_input_ ? x.whole() : x; }
  Tensor output(const Tensor& y) const { return pads_output_ ? y.whole() : y; }

  /// `values` among zeros in `memory`.
  Tensor padded(const Tensor& values, const Shape& shape, std::byte* memory) const {
    const Tensor all(memory, shape, values.dtype, values.device);
    ops_.elementwise->fill(all, 0);
    ops_.elementwise->copy(values, part_of(all, values.shape), false);
    return all;
  }

  void backward_weights(const Bindings& b, const Tensor& dz, std::byte* scratch) {
    const Tensor x = input(b.inputs[0]);
    const Tensor& dw = b.parameter_gradients[0];
    if (!pads_) {
      conv_->backward_weights(x, dz, dw, b.workspace);
      return;
    }
    const Tensor all(scratch, stored_weights_, dw.dtype, dw.device);
    conv_->backward_weights(x, dz, all, b.workspace);
    ops_.elementwise->copy(part_of(all, dw.shape), dw, false);
  }

  /// Workspace of the calls of a backward pass, which come one after the other.
  size_t backward_call_bytes() const {
    return align(std::max(conv_->workspace_bytes(), epilogue_bytes_));
  }

  /// The max pooling whose gradient this layer takes.
  static std::optional<PoolDesc> joined_pool(const LayerContext& context) {
    for (const Node& node : context.graph.nodes()) {
      const auto* pool = std::get_if<MaxPoolLayer>(&node.layer);
      if (pool != nullptr && pool->joined && node.inputs[0] == context.node.output) {
        return pool->desc;
      }
    }
    return std::nullopt;
  }

  ConvLayer layer_;
  Ops& ops_;
  bool learns_;
  Dropout dropout_;
  EpilogueDesc epilogue_;
  std::unique_ptr<Convolution> conv_;
  bool pads_input_ = false, pads_output_ = false, pads_ = false;  // pads_: either
  bool makes_scores_ = false;
  Shape weights_;
  Shape stored_weights_, stored_bias_;         // zeros where a channel is not there
  size_t input_bytes_ = 0, output_bytes_ = 0;  // of the stored values
  size_t fold_bytes_ = 0, pad_bytes_ = 0;      // scratch for folding and for padding weights
  size_t epilogue_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Layer> make(const ConvLayer& layer, const LayerContext& context) {
  return std::make_unique<Conv>(layer, context);
}

}  // namespace macadam::layers
