// Convolutions with one filter a channel, which CUDA has kernels of its own for.

#include <algorithm>

#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

ConvDesc depthwise(Shape input, int size, int stride, Padding padding) {
  return {.input = input,
          .out_channels = input.c,
          .kernel_h = size,
          .kernel_w = size,
          .stride = stride,
          .padding = padding,
          .groups = input.c};
}

/// "SAME" padding of TensorFlow: what is odd goes to the right and the bottom.
Padding tf_same(const Shape& input, int size, int stride) {
  const auto total = [&](int extent) {
    const int out = (extent + stride - 1) / stride;
    return std::max(0, (out - 1) * stride + size - extent);
  };
  const int w = total(input.w), h = total(input.h);
  return {.left = w / 2, .right = w - w / 2, .top = h / 2, .bottom = h - h / 2};
}

std::vector<ConvDesc> descriptions() {
  std::vector<ConvDesc> all;
  const Shape shapes[] = {{2, 5, 9, 1},  {1, 17, 23, 3},  {2, 16, 32, 8},  {2, 17, 23, 24},
                          {1, 5, 9, 33}, {1, 16, 18, 96}, {1, 5, 1021, 8}, {1, 3, 2047, 3}};
  for (const Shape& shape : shapes)
    for (const int size : {3, 5})
      for (const int stride : {1, 2}) {
        all.push_back(depthwise(shape, size, stride, Padding::all(size / 2)));
        if (stride == 2) all.push_back(depthwise(shape, size, 2, tf_same(shape, size, 2)));
        all.back().bias = stride == 2 || shape.c % 2 == 1;
      }
  all.push_back(depthwise({2, 9, 11, 16}, 3, 1, {2, 0, 1, 3}));
  all.push_back(depthwise({1, 9, 11, 5}, 3, 2, {2, 0, 1, 3}));
  all.push_back(depthwise({1, 9, 11, 16}, 5, 2, {0, 3, 4, 1}));
  all.push_back(depthwise({1, 9, 12, 8}, 3, 1, {}));
  all.push_back(depthwise({1, 9, 12, 8}, 5, 2, {}));
  all.push_back(depthwise({3, 1, 1, 40}, 3, 1, Padding::all(1)));
  all.push_back(depthwise({2, 1, 2, 8}, 5, 2, Padding::all(2)));
  all.push_back(depthwise({1, 4, 3, 200}, 3, 2, Padding::all(1)));
  return all;
}

/// Apart from those that only cuDNN computes.
OpCase named_depthwise(OpCase op) {
  op.op.replace(0, std::string("conv").size(), "depthwise");
  return op;
}

}  // namespace

std::vector<OpCase> depthwise_cases() {
  std::vector<OpCase> cases;
  for (ConvDesc desc : descriptions())
    for (const DType dtype : kFloatTypes) {
      desc.dtype = dtype;
      desc.backward = true;
      cases.push_back(named_depthwise(conv_forward(desc)));
      cases.push_back(named_depthwise(conv_backward_data(desc)));
      cases.push_back(named_depthwise(conv_backward_weights(desc)));
    }
  for (const Activation activation :
       {Activation::relu, Activation::relu6, Activation::sigmoid, Activation::silu,
        Activation::hardswish, Activation::hardsigmoid})
    for (const DType dtype : kFloatTypes) {
      ConvDesc desc = depthwise({2, 5, 9, 24}, 3, 1, Padding::all(1));
      desc.bias = true;
      desc.activation = activation;
      desc.dtype = dtype;
      cases.push_back(named_depthwise(conv_forward(desc)));
    }
  return cases;
}

}  // namespace macadam::testing
