#include "kernels/squeeze_excite.h"

namespace macadam {

void require_shapes(const SqueezeExciteDesc& desc, const SqueezeExciteParameters& parameters) {
  require(desc.gate == Activation::sigmoid || desc.gate == Activation::hardsigmoid,
          "squeeze-excite: the gate is a sigmoid or a hardsigmoid");
  const auto is = [](const Tensor& tensor, const Shape& shape) {
    return tensor.shape == shape && tensor.dense() && tensor.dtype == DType::f32;
  };
  require(is(parameters.w1, {desc.hidden, 1, 1, desc.channels}) &&
              is(parameters.b1, {1, 1, 1, desc.hidden}) &&
              is(parameters.w2, {desc.channels, 1, 1, desc.hidden}) &&
              is(parameters.b2, {1, 1, 1, desc.channels}),
          "squeeze-excite: parameters of the description's shapes, dense and in fp32");
}

}  // namespace macadam
