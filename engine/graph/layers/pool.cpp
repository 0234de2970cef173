// Max and average pooling.

#include "base/to_size.h"
#include "engine/graph/layers/factories.h"

namespace macadam::layers {

namespace {

class MaxPool final : public Layer {
 public:
  MaxPool(const MaxPoolLayer& layer, const LayerContext& context)
      : desc_(layer.desc),
        ops_(context.ops),
        training_(context.training),
        shape_(context.graph.shape(context.node.output)) {}

  LayerNeeds needs() const override {
    return {.saved = training_ ? to_size(shape_.elements()) : 0};
  }
  void forward(const Bindings& b) override {
    ops_.pool->max(desc_, b.inputs[0], b.output, index(b));
  }
  void backward(const Bindings& b) override {
    if (b.input_gradients[0].data == nullptr) return;
    ops_.pool->max_backward(desc_, b.output_gradient, index(b), b.input_gradients[0],
                            b.accumulate[0]);
  }

 private:
  Tensor index(const Bindings& b) const {
    return Tensor(b.saved, shape_, DType::u8, b.output.device);
  }

  PoolDesc desc_;
  Ops& ops_;
  bool training_;
  Shape shape_;
};

class AveragePool final : public Layer {
 public:
  AveragePool(const PoolDesc& desc, const LayerContext& context) : desc_(desc), ops_(context.ops) {}

  void forward(const Bindings& b) override { ops_.pool->average(desc_, b.inputs[0], b.output); }
  void backward(const Bindings& b) override {
    if (b.input_gradients[0].data == nullptr) return;
    ops_.pool->average_backward(desc_, b.output_gradient, b.input_gradients[0], b.accumulate[0]);
  }

 private:
  PoolDesc desc_;
  Ops& ops_;
};

}  // namespace

std::unique_ptr<Layer> make(const MaxPoolLayer& layer, const LayerContext& context) {
  return std::make_unique<MaxPool>(layer, context);
}
std::unique_ptr<Layer> make(const AveragePoolLayer& layer, const LayerContext& context) {
  return std::make_unique<AveragePool>(layer.desc, context);
}
std::unique_ptr<Layer> make(const GridAveragePoolLayer& layer, const LayerContext& context) {
  return std::make_unique<AveragePool>(PoolDesc{.grid_h = layer.rows, .grid_w = layer.columns},
                                       context);
}

}  // namespace macadam::layers
