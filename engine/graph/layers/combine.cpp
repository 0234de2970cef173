// Layers that join values: concatenation along channels, addition, of a multiple of the second, and
// products.

#include <array>

#include "engine/graph/layers/factories.h"

namespace macadam::layers {

namespace {

/// Inputs and gradients that the plan placed inside the concatenated tensor cost nothing here.
class Concat final : public Layer {
 public:
  explicit Concat(const LayerContext& context) : ops_(context.ops) {}

  void forward(const Bindings& b) override {
    int first = 0;
    for (const Tensor& x : b.inputs) {
      const Tensor slice = b.output.channels(first, x.shape.c);
      if (slice.data != x.data) ops_.elementwise->copy(x, slice, false);
      first += x.shape.c;
    }
  }
  void backward(const Bindings& b) override {
    int first = 0;
    for (size_t i = 0; i < b.inputs.size(); ++i) {
      const int channels = b.inputs[i].shape.c;
      const Tensor slice = b.output_gradient.channels(first, channels);
      const Tensor& dx = b.input_gradients[i];
      if (dx.data != nullptr && dx.data != slice.data) {
        ops_.elementwise->copy(slice, dx, b.accumulate[i]);
      }
      first += channels;
    }
  }

 private:
  Ops& ops_;
};

class Add final : public Layer {
 public:
  Add(const AddLayer& layer, const LayerContext& context)
      : factors_{1, layer.factor}, relu_(layer.relu), ops_(context.ops) {}

  LayerNeeds needs() const override {
    return {.backward_reads_output = relu_, .backward_in_place = true};
  }
  void forward(const Bindings& b) override {
    ops_.elementwise->add(b.inputs[0], b.inputs[1], factors_[1], b.output, relu_);
  }
  void backward(const Bindings& b) override {
    const Tensor* sum = relu_ ? nullptr : &b.output_gradient;  // the gradient of the bare sum
    for (size_t i = 0; i < 2; ++i) {
      const Tensor& dx = b.input_gradients[i];
      if (dx.data == nullptr) continue;
      if (sum == nullptr && factors_[i] == 1) {
        ops_.activation->activate_backward(Activation::relu, b.output, b.output_gradient, dx,
                                           b.accumulate[i]);
        if (!b.accumulate[i]) sum = &dx;
        continue;
      }
      if (sum == nullptr) {
        sum = &b.output_gradient;
        ops_.activation->activate_backward(Activation::relu, b.output, *sum, *sum, false);
      }
      if (factors_[i] != 1) {
        ops_.elementwise->scale(*sum, factors_[i], dx, b.accumulate[i]);
      } else if (dx.data != sum->data || b.accumulate[i]) {
        ops_.elementwise->copy(*sum, dx, b.accumulate[i]);
      }
    }
  }

 private:
  std::array<float, 2> factors_;  // by input
  bool relu_;
  Ops& ops_;
};

class Multiply final : public Layer {
 public:
  explicit Multiply(const LayerContext& context)
      : ops_(context.ops),
        factors_(context.graph.shape(context.node.inputs[0]) !=
                 context.graph.shape(context.node.inputs[1])) {}

  LayerNeeds needs() const override { return {.backward_reads_input = true}; }
  void forward(const Bindings& b) override {
    ops_.elementwise->multiply(b.inputs[0], b.inputs[1], b.output, false);
  }
  void backward(const Bindings& b) override {
    const Tensor &dy = b.output_gradient, &da = b.input_gradients[0], &db = b.input_gradients[1];
    if (da.data != nullptr) ops_.elementwise->multiply(dy, b.inputs[1], da, b.accumulate[0]);
    if (db.data == nullptr) return;
    if (factors_) {
      ops_.elementwise->dot(dy, b.inputs[0], db, b.accumulate[1]);
    } else {
      ops_.elementwise->multiply(dy, b.inputs[0], db, b.accumulate[1]);
    }
  }

 private:
  Ops& ops_;
  bool factors_;  // the second input has one channel
};

class Dot final : public Layer {
 public:
  explicit Dot(const LayerContext& context) : ops_(context.ops) {}

  LayerNeeds needs() const override { return {.backward_reads_input = true}; }
  void forward(const Bindings& b) override {
    ops_.elementwise->dot(b.inputs[0], b.inputs[1], b.output, false);
  }
  void backward(const Bindings& b) override {
    for (size_t i = 0; i < 2; ++i) {
      const Tensor& dx = b.input_gradients[i];
      if (dx.data == nullptr) continue;
      ops_.elementwise->multiply(b.inputs[1 - i], b.output_gradient, dx, b.accumulate[i]);
    }
  }

 private:
  Ops& ops_;
};

}  // namespace

std::unique_ptr<Layer> make(const ConcatLayer&, const LayerContext& context) {
  return std::make_unique<Concat>(context);
}
std::unique_ptr<Layer> make(const AddLayer& layer, const LayerContext& context) {
  return std::make_unique<Add>(layer, context);
}
std::unique_ptr<Layer> make(const MultiplyLayer&, const LayerContext& context) {
  return std::make_unique<Multiply>(context);
}
std::unique_ptr<Layer> make(const DotLayer&, const LayerContext& context) {
  return std::make_unique<Dot>(context);
}

}  // namespace macadam::layers
