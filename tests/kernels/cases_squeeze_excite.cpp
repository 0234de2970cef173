#include <cmath>

#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

constexpr double kSumSlack = 4;  // sums of many products, in any order

std::string name_of_desc(const SqueezeExciteDesc& d) {
  return std::to_string(d.images) + "x" + std::to_string(d.channels) + "_hidden" +
         std::to_string(d.hidden) + "_" + std::string(name_of(d.activation)) +
         (d.gate == Activation::sigmoid ? "" : "_" + std::string(name_of(d.gate)));
}

SqueezeExciteParameters parameters(const Arguments& a, const std::string& prefix) {
  return {a(prefix + "w1"), a(prefix + "b1"), a(prefix + "w2"), a(prefix + "b2")};
}

/// The operands that both directions read.
std::vector<Operand> inputs(const SqueezeExciteDesc& d) {
  const Shape w1{d.hidden, 1, 1, d.channels}, w2{d.channels, 1, 1, d.hidden};
  const auto scaled = [](int fan_in) { return normal(0, 1 / std::sqrt(fan_in)); };
  return {input("means", d.vectors(), d.dtype, normal(0.3, 1)),
          input("w1", w1, DType::f32, scaled(d.channels)),
          input("b1", {1, 1, 1, d.hidden}, DType::f32, normal()),
          input("w2", w2, DType::f32, scaled(d.hidden)),
          input("b2", {1, 1, 1, d.channels}, DType::f32, normal())};
}

using Call = std::function<void(SqueezeExciteOps&, const Arguments&)>;

std::function<PreparedOp(Ops&)> prepared(const SqueezeExciteDesc& desc, bool workspace, Call call) {
  return [=](Ops& ops) {
    SqueezeExciteOps& family = *ops.squeeze_excite;
    PreparedOp op;
    op.packed_bytes = family.packed_bytes(desc);
    op.workspace_bytes = workspace ? family.workspace_bytes(desc) : 0;
    op.setup = [=, &family](const Arguments& a) {
      family.pack(desc, parameters(a, ""), a.packed());
    };
    op.call = [=, &family](const Arguments& a) { call(family, a); };
    return op;
  };
}

}  // namespace

OpCase squeeze_excite_gates(const SqueezeExciteDesc& desc, bool training) {
  std::vector<Operand> operands = inputs(desc);
  operands.push_back(output("gates", desc.vectors(), desc.dtype).loose(kSumSlack));
  if (training)
    operands.push_back(output("squeezed", desc.squeezed(), DType::f32).loose(kSumSlack));
  return OpCase{.op = "squeeze_excite_gates",
                .name = name_of_desc(desc) + (training ? "_training" : ""),
                .dtype = desc.dtype,
                .operands = std::move(operands),
                .prepare = prepared(desc, false,
                                    [desc](SqueezeExciteOps& ops, const Arguments& a) {
                                      ops.gates(desc, a("means"), a.packed(),
                                                a.optional("squeezed"), a("gates"));
                                    }),
                .forward = nullptr};
}

OpCase squeeze_excite_backward(const SqueezeExciteDesc& desc) {
  std::vector<Operand> operands = inputs(desc);
  operands.push_back(input("gates", desc.vectors(), desc.dtype, normal()));
  operands.push_back(input("squeezed", desc.squeezed(), DType::f32, normal()));
  operands.push_back(input("dgates", desc.vectors(), desc.dtype, normal()));
  operands.push_back(output("dmeans", desc.vectors(), desc.dtype).loose(kSumSlack));
  for (const Operand& parameter : inputs(desc)) {
    if (parameter.name == "means") continue;
    operands.push_back(output("d" + parameter.name, parameter.shape, DType::f32).loose(kSumSlack));
  }
  return OpCase{.op = "squeeze_excite_backward",
                .name = name_of_desc(desc),
                .dtype = desc.dtype,
                .operands = std::move(operands),
                .prepare = prepared(desc, true,
                                    [desc](SqueezeExciteOps& ops, const Arguments& a) {
                                      ops.backward(desc, a("means"), a.packed(), a("squeezed"),
                                                   a("gates"), a("dgates"), a("dmeans"),
                                                   parameters(a, "d"), a.workspace());
                                    }),
                .forward = std::make_shared<OpCase>(squeeze_excite_gates(desc, true))};
}

std::vector<OpCase> squeeze_excite_cases() {
  std::vector<OpCase> cases;
  const auto add = [&](const SqueezeExciteDesc& desc) {
    cases.push_back(squeeze_excite_gates(desc, false));
    cases.push_back(squeeze_excite_gates(desc, true));
    cases.push_back(squeeze_excite_backward(desc));
  };
  for (const DType dtype : kFloatTypes) {
    for (const Activation activation :
         {Activation::identity, Activation::relu, Activation::sigmoid}) {
      add({.images = 2, .channels = 24, .hidden = 6, .activation = activation, .dtype = dtype});
    }
    for (const int channels : {24, 33}) {
      add({.images = 2,
           .channels = channels,
           .hidden = 6,
           .activation = Activation::relu,
           .gate = Activation::hardsigmoid,
           .dtype = dtype});
    }
    add({.images = 2,
         .channels = 24,
         .hidden = 6,
         .activation = Activation::hardswish,
         .gate = Activation::hardsigmoid,
         .dtype = dtype});
    add({.images = 1, .channels = 1, .hidden = 1, .dtype = dtype});
    add({.images = 3, .channels = 33, .hidden = 5, .dtype = dtype});
    add({.images = 2, .channels = 96, .hidden = 4, .dtype = dtype});
    add({.images = 1, .channels = 530, .hidden = 21, .dtype = dtype});
    add({.images = 2, .channels = 1152, .hidden = 48, .dtype = dtype});
  }
  return cases;
}

}  // namespace macadam::testing
