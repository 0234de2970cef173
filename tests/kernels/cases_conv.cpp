#include <algorithm>
#include <cmath>
#include <iterator>

#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

constexpr double kSumSlack = 2;  // sums of many products, in any order

/// cuDNN takes the bias in 16 bits, and what it cannot fuse is rounded once more before the bias.
constexpr double kEpilogueSlack = 4;

bool has_epilogue(const ConvDesc& d) { return d.bias || d.activation != Activation::identity; }

std::string name_of_desc(const ConvDesc& d) {
  std::string name = d.input.text() + "_k" + std::to_string(d.out_channels) + "_" +
                     std::to_string(d.kernel_h) + "x" + std::to_string(d.kernel_w);
  if (d.stride != 1) name += "_stride" + std::to_string(d.stride);
  if (d.dilation != 1) name += "_dilation" + std::to_string(d.dilation);
  const Padding& p = d.padding;
  if (p != Padding{})
    name += "_pad" + std::to_string(p.left) + std::to_string(p.right) + std::to_string(p.top) +
            std::to_string(p.bottom);
  if (d.groups != 1) name += "_groups" + std::to_string(d.groups);
  if (d.bias) name += "_bias";
  if (d.activation != Activation::identity) name += "_" + std::string(name_of(d.activation));
  return name;
}

Operand weights_operand(const ConvDesc& d) {
  const Shape shape = d.weights();
  const double fan_in = static_cast<double>(shape.elements()) / shape.n;
  return input("w", shape, DType::f32, normal(0, 1 / std::sqrt(fan_in)));
}

using Pass = void (*)(Convolution&, const Arguments&);

std::function<PreparedOp(Ops&)> prepare_conv(const ConvDesc& desc, Pass pass) {
  return [desc, pass](Ops& ops) {
    const std::shared_ptr<Convolution> conv = ops.conv->make(desc);
    PreparedOp op;
    op.workspace_bytes = conv->workspace_bytes();
    op.packed_bytes = conv->packed_bytes();
    op.setup = [conv](const Arguments& a) { conv->pack(a("w"), a.optional("b"), a.packed()); };
    op.call = [conv, pass](const Arguments& a) { pass(*conv, a); };
    return op;
  };
}

OpCase conv_case(std::string op, const ConvDesc& desc, std::vector<Operand> operands, Pass pass) {
  operands.push_back(weights_operand(desc));
  if (desc.bias) operands.push_back(input("b", {1, 1, 1, desc.out_channels}, DType::f32, normal()));
  return OpCase{.op = std::move(op),
                .name = name_of_desc(desc),
                .dtype = desc.dtype,
                .operands = std::move(operands),
                .prepare = prepare_conv(desc, pass),
                .forward = nullptr};
}

/// What the backward passes differentiate: the convolution without its ReLU.
ConvDesc training(ConvDesc desc) {
  desc.activation = Activation::identity;
  desc.backward = true;
  return desc;
}

std::vector<ConvDesc> descriptions() {
  const Padding same = Padding::all(1);
  const Padding tf_stride2{.left = 0, .right = 1, .top = 0, .bottom = 1};
  return {
      {.input = {1, 1, 1, 1}, .out_channels = 1, .kernel_h = 1, .kernel_w = 1, .bias = true},
      {.input = {2, 5, 9, 3},
       .out_channels = 8,
       .padding = same,
       .bias = true,
       .activation = Activation::relu},
      {.input = {1, 17, 23, 3},
       .out_channels = 32,
       .padding = same,
       .bias = true,
       .activation = Activation::relu},
      {.input = {2, 16, 32, 32}, .out_channels = 64, .padding = same},
      {.input = {1, 16, 32, 64},
       .out_channels = 32,
       .padding = same,
       .bias = true,
       .activation = Activation::relu},
      {.input = {3, 5, 9, 64}, .out_channels = 19, .kernel_h = 1, .kernel_w = 1, .bias = true},
      {.input = {1, 5, 9, 33}, .out_channels = 31, .padding = same, .bias = true},
      {.input = {2, 5, 9, 11}, .out_channels = 5},
      {.input = {1, 1, 7, 8}, .out_channels = 12, .padding = same, .activation = Activation::relu},
      {.input = {1, 3, 9, 8}, .out_channels = 8, .kernel_h = 1, .padding = {1, 1, 0, 0}},
      // The halves of a 7 x 7 kernel (Szegedy et al., 2016, section 3.2), and of a 3 x 3.
      {.input = {1, 17, 23, 16},
       .out_channels = 24,
       .kernel_h = 1,
       .kernel_w = 7,
       .padding = {3, 3, 0, 0}},
      {.input = {2, 17, 17, 24},
       .out_channels = 16,
       .kernel_h = 7,
       .kernel_w = 1,
       .padding = {0, 0, 3, 3},
       .bias = true,
       .activation = Activation::relu},
      {.input = {2, 5, 9, 8},
       .out_channels = 12,
       .kernel_h = 7,
       .kernel_w = 1,
       .padding = {0, 0, 3, 3}},
      {.input = {2, 5, 9, 8},
       .out_channels = 12,
       .kernel_h = 1,
       .kernel_w = 7,
       .padding = {3, 3, 0, 0}},
      {.input = {1, 17, 23, 8},
       .out_channels = 8,
       .kernel_h = 3,
       .kernel_w = 1,
       .padding = {0, 0, 1, 1}},
      {.input = {1, 17, 24, 8},
       .out_channels = 8,
       .kernel_h = 1,
       .kernel_w = 7,
       .stride = 2,
       .padding = {2, 3, 0, 0}},
      {.input = {2, 17, 23, 12}, .out_channels = 8, .stride = 2, .padding = same},
      {.input = {2, 16, 32, 3},
       .out_channels = 32,
       .stride = 2,
       .padding = tf_stride2,
       .bias = true},
      {.input = {1, 17, 23, 8}, .out_channels = 16, .padding = {2, 0, 1, 3}},
      {.input = {1, 16, 32, 3},
       .out_channels = 64,
       .kernel_h = 7,
       .kernel_w = 7,
       .stride = 2,
       .padding = Padding::all(3)},
      {.input = {1, 16, 32, 16}, .out_channels = 32, .kernel_h = 1, .kernel_w = 1, .stride = 2},
      {.input = {1, 17, 23, 8}, .out_channels = 8, .dilation = 2, .padding = Padding::all(2)},
      {.input = {2, 17, 23, 16},
       .out_channels = 16,
       .dilation = 4,
       .padding = Padding::all(4),
       .bias = true,
       .activation = Activation::relu},
      {.input = {2, 5, 9, 12}, .out_channels = 8, .padding = same, .groups = 4},
      {.input = {1, 5, 9, 64},
       .out_channels = 64,
       .padding = same,
       .groups = 2,
       .bias = true,
       .activation = Activation::relu},
      {.input = {2, 16, 32, 32}, .out_channels = 32, .padding = same, .groups = 32},
      {.input = {1, 5, 9, 19}, .out_channels = 19, .padding = same, .groups = 19, .bias = true},
      {.input = {1, 17, 23, 24},
       .out_channels = 24,
       .kernel_h = 5,
       .kernel_w = 5,
       .stride = 2,
       .padding = {1, 2, 1, 2},
       .groups = 24,
       .bias = true,
       .activation = Activation::relu},
  };
}

/// Rows as wide as real photos', in heights that are multiples of nothing: libraries choose other
/// kernels there, and a fault may hide until then (oneDNN 2.6.3 on AMX: wrong weight gradients and
/// writes out of bounds from a width of 256 on, in bf16).
std::vector<ConvDesc> wide_descriptions() {
  const Padding same = Padding::all(1);
  std::vector<ConvDesc> wide;
  for (const int width :
       {320, 383, 384, 447, 480, 512, 641, 736, 737, 800, 1023, 1024, 2047, 2048}) {
    wide.push_back({.input = {1, 3, width, 16}, .out_channels = 16, .padding = same, .bias = true});
  }
  // AMX weight gradients that read what they have not written (kernels/cpu/conv_faults.cpp).
  for (const int width : {61, 93, 125, 157}) {
    wide.push_back({.input = {2, 9, width, 48}, .out_channels = 64, .padding = same});
  }
  // As wide as deep: what blocks channels by 32 or more sees whole blocks.
  wide.push_back({.input = {1, 7, 384, 32}, .out_channels = 32, .padding = same});
  wide.push_back({.input = {1, 5, 736, 64}, .out_channels = 32, .padding = same});
  wide.push_back({.input = {1, 96, 256, 16}, .out_channels = 16, .padding = same});
  wide.push_back({.input = {2, 3, 1021, 3}, .out_channels = 32, .padding = same, .bias = true});
  // Odd numbers of classes, and strides over few channels (kernels/cpu/conv_faults.cpp).
  wide.push_back({.input = {1, 3, 80, 16}, .out_channels = 11, .kernel_h = 1, .kernel_w = 1});
  wide.push_back({.input = {1, 5, 383, 24}, .out_channels = 19, .kernel_h = 1, .kernel_w = 1});
  wide.push_back(
      {.input = {1, 32, 64, 8}, .out_channels = 16, .kernel_h = 1, .kernel_w = 1, .stride = 2});
  wide.push_back(
      {.input = {1, 32, 64, 3}, .out_channels = 5, .kernel_h = 1, .kernel_w = 1, .stride = 2});
  wide.push_back({.input = {1, 5, 1023, 32}, .out_channels = 19, .kernel_h = 1, .kernel_w = 1});
  wide.push_back({.input = {1, 7, 767, 16}, .out_channels = 24, .stride = 2, .padding = same});
  wide.push_back(
      {.input = {1, 9, 641, 16}, .out_channels = 16, .dilation = 4, .padding = Padding::all(4)});
  wide.push_back({.input = {1, 7, 1025, 3},
                  .out_channels = 64,
                  .kernel_h = 7,
                  .kernel_w = 7,
                  .stride = 2,
                  .padding = Padding::all(3)});
  wide.push_back({.input = {1, 5, 513, 16}, .out_channels = 16, .padding = same, .groups = 2});
  wide.push_back({.input = {1, 5, 1023, 24}, .out_channels = 24, .padding = same, .groups = 24});
  return wide;
}

}  // namespace

OpCase conv_forward(const ConvDesc& desc) {
  Operand y = output("y", desc.output(), desc.dtype).loose(kSumSlack);
  if (has_epilogue(desc) && desc.dtype != DType::f32) {
    y = std::move(y).loose_on_cuda(desc.dtype, kEpilogueSlack);
  }
  return conv_case("conv_forward", desc,
                   {input("x", desc.input, desc.dtype, normal()), std::move(y)},
                   [](Convolution& conv, const Arguments& a) {
                     conv.forward(a("x"), a.packed(), a("y"), a.workspace());
                   });
}

OpCase conv_backward_data(const ConvDesc& desc) {
  OpCase op = conv_case("conv_backward_data", training(desc),
                        {input("dy", desc.output(), desc.dtype, normal()),
                         output("dx", desc.input, desc.dtype).loose(kSumSlack)},
                        [](Convolution& conv, const Arguments& a) {
                          conv.backward_data(a("dy"), a.packed(), a("dx"), a.workspace());
                        });
  op.forward = std::make_shared<OpCase>(conv_forward(training(desc)));
  return op;
}

OpCase conv_backward_weights(const ConvDesc& desc) {
  std::vector<Operand> operands{input("x", desc.input, desc.dtype, normal()),
                                input("dy", desc.output(), desc.dtype, normal()),
                                output("dw", desc.weights(), DType::f32)
                                    .loose(kSumSlack)
                                    .loose_on_cuda(desc.dtype, kSumSlack)};  // cuDNN's dW
  OpCase op = conv_case("conv_backward_weights", training(desc), std::move(operands),
                        [](Convolution& conv, const Arguments& a) {
                          conv.backward_weights(a("x"), a("dy"), a("dw"), a.workspace());
                        });
  op.forward = std::make_shared<OpCase>(conv_forward(training(desc)));
  return op;
}

/// A photo, or a network, gone wrong shows as such: no activation turns NaN into a number.
OpCase conv_forward_of_nan(const ConvDesc& desc) {
  OpCase op = conv_forward(desc);
  op.name += "_nan";
  op.operands.front().fill = [](std::span<double> values, std::mt19937& random) {
    normal()(values, random);
    values[values.size() / 2] = std::nan("");
  };
  return op;
}

std::vector<OpCase> conv_cases() {
  std::vector<OpCase> cases;
  for (const Activation activation :
       {Activation::identity, Activation::relu, Activation::relu6, Activation::sigmoid,
        Activation::silu, Activation::hardswish, Activation::hardsigmoid})
    for (const DType dtype : kFloatTypes)
      cases.push_back(conv_forward_of_nan({.input = {1, 9, 17, 16},
                                           .out_channels = 24,
                                           .padding = Padding::all(1),
                                           .bias = true,
                                           .activation = activation,
                                           .dtype = dtype}));
  for (const Activation activation : {Activation::relu6, Activation::sigmoid, Activation::silu,
                                      Activation::hardswish, Activation::hardsigmoid})
    for (const DType dtype : kFloatTypes)
      cases.push_back(conv_forward({.input = {2, 5, 9, 24},
                                    .out_channels = 40,
                                    .padding = Padding::all(1),
                                    .bias = true,
                                    .activation = activation,
                                    .dtype = dtype}));
  std::vector<ConvDesc> all = descriptions();
  std::ranges::copy(wide_descriptions(), std::back_inserter(all));
  for (ConvDesc desc : all)
    for (const DType dtype : kFloatTypes) {
      desc.dtype = dtype;
      desc.backward = desc.activation == Activation::identity;  // fused: inference
      cases.push_back(conv_forward(desc));
      cases.push_back(conv_backward_data(desc));
      cases.push_back(conv_backward_weights(desc));
    }
  return cases;
}

}  // namespace macadam::testing
