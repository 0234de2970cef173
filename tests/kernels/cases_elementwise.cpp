#include <cmath>
#include <limits>

#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

constexpr float kFactor = 0.17f;  // Inception-ResNet-v2's, of the first kind of block

}  // namespace

OpCase copy(Shape shape, DType from, DType to, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.elementwise->copy(a("x"), a("y"), variant.accumulate);
    };
    return op;
  };
  Operand target = variant.accumulate ? update("y", shape, to, normal()) : output("y", shape, to);
  return OpCase{.op = "copy",
                .name = shape.text() + "_to_" + std::string(name_of(to)) + variant.suffix(),
                .dtype = from,
                .operands = {laid_out(input("x", shape, from,
                                            from == DType::u8 ? integers(0, 255) : normal()),
                                      variant.layout, 0),
                             laid_out(std::move(target), variant.layout, 1).exact()},
                .prepare = prepare,
                .forward = nullptr};
}

OpCase add(Shape shape, DType dtype, float factor, bool relu, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.elementwise->add(a("a"), a("b"), factor, a.either("y", "a"), relu);
    };
    return op;
  };
  OpCase op{.op = "add",
            .name = shape.text() + (factor == 1 ? "" : "_scaled") + (relu ? "_relu" : "") +
                    variant.suffix(),
            .dtype = dtype,
            .operands = {laid_out(input("b", shape, dtype, normal()), variant.layout, 1)},
            .prepare = prepare,
            .forward = nullptr};
  const double slack = factor == 1 ? 0 : 1;  // a product may be rounded before it is added
  if (variant.in_place) {
    op.operands.push_back(
        laid_out(update("a", shape, dtype, normal()), variant.layout, 0).loose(slack));
  } else {
    op.operands.push_back(laid_out(input("a", shape, dtype, normal()), variant.layout, 0));
    op.operands.push_back(laid_out(output("y", shape, dtype), variant.layout, 2).loose(slack));
  }
  return op;
}

OpCase scale(Shape shape, DType from, DType to, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.elementwise->scale(a("x"), kFactor, a.either("y", "x"), variant.accumulate);
    };
    return op;
  };
  OpCase op{.op = "scale",
            .name = shape.text() + "_to_" + std::string(name_of(to)) + variant.suffix(),
            .dtype = from,
            .operands = {},
            .prepare = prepare,
            .forward = nullptr};
  if (variant.in_place) {
    op.operands.push_back(laid_out(update("x", shape, from, normal()), variant.layout, 0));
  } else {
    op.operands.push_back(laid_out(input("x", shape, from, normal()), variant.layout, 0));
    Operand y = variant.accumulate ? update("y", shape, to, normal()) : output("y", shape, to);
    op.operands.push_back(laid_out(std::move(y), variant.layout, 1));
  }
  return op;
}

OpCase fill(Shape shape, DType dtype, Variant variant) {
  const auto prepare = [](Ops& ops) {
    PreparedOp op;
    op.call = [&ops](const Arguments& a) { ops.elementwise->fill(a("y"), 0.3f); };
    return op;
  };
  return OpCase{.op = "fill",
                .name = shape.text() + variant.suffix(),
                .dtype = dtype,
                .operands = {laid_out(output("y", shape, dtype), variant.layout, 1).exact()},
                .prepare = prepare,
                .forward = nullptr};
}

namespace {

Shape one_channel(Shape shape) {
  shape.c = 1;
  return shape;
}

Operand result(std::string name, Shape shape, DType dtype, Variant variant, int salt) {
  return laid_out(variant.accumulate ? update(std::move(name), shape, dtype, normal())
                                     : output(std::move(name), shape, dtype),
                  variant.layout, salt);
}

std::string product_name(Shape shape, bool factors, Variant variant) {
  return shape.text() + (factors ? "_factors" : "") + variant.suffix();
}

}  // namespace

OpCase multiply(Shape shape, DType dtype, bool factors, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.elementwise->multiply(a("a"), a("b"), a.either("y", "a"), variant.accumulate);
    };
    return op;
  };
  const Shape second = factors ? one_channel(shape) : shape;
  OpCase op{.op = "multiply",
            .name = product_name(shape, factors, variant),
            .dtype = dtype,
            .operands = {laid_out(input("b", second, dtype, normal()), variant.layout, 1)},
            .prepare = prepare,
            .forward = nullptr};
  if (variant.in_place) {
    op.operands.push_back(laid_out(update("a", shape, dtype, normal()), variant.layout, 0));
  } else {
    op.operands.push_back(laid_out(input("a", shape, dtype, normal()), variant.layout, 0));
    op.operands.push_back(result("y", shape, dtype, variant, 2));
  }
  return op;
}

OpCase multiply_backward(Shape shape, DType dtype, bool factors, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.elementwise->multiply(a("dy"), a("b"), a("da"), variant.accumulate);
      if (factors) {
        ops.elementwise->dot(a("dy"), a("a"), a("db"), variant.accumulate);
      } else {
        ops.elementwise->multiply(a("dy"), a("a"), a("db"), variant.accumulate);
      }
    };
    return op;
  };
  const Shape second = factors ? one_channel(shape) : shape;
  return OpCase{
      .op = "multiply_backward",
      .name = product_name(shape, factors, variant),
      .dtype = dtype,
      .operands = {laid_out(input("dy", shape, dtype, normal()), variant.layout, 0),
                   laid_out(input("a", shape, dtype, normal()), variant.layout, 1),
                   laid_out(input("b", second, dtype, normal()), variant.layout, 2),
                   result("da", shape, dtype, variant, 3), result("db", second, dtype, variant, 4)},
      .prepare = prepare,
      .forward = std::make_shared<OpCase>(multiply(shape, dtype, factors))};
}

OpCase dot(Shape shape, DType dtype, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.elementwise->dot(a("a"), a("b"), a("y"), variant.accumulate);
    };
    return op;
  };
  return OpCase{.op = "dot",
                .name = product_name(shape, false, variant),
                .dtype = dtype,
                .operands = {laid_out(input("a", shape, dtype, normal()), variant.layout, 0),
                             laid_out(input("b", shape, dtype, normal()), variant.layout, 1),
                             result("y", one_channel(shape), dtype, variant, 2)},
                .prepare = prepare,
                .forward = nullptr};
}

OpCase dot_backward(Shape shape, DType dtype, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.elementwise->multiply(a("b"), a("dy"), a("da"), variant.accumulate);
      ops.elementwise->multiply(a("a"), a("dy"), a("db"), variant.accumulate);
    };
    return op;
  };
  return OpCase{
      .op = "dot_backward",
      .name = product_name(shape, false, variant),
      .dtype = dtype,
      .operands = {laid_out(input("dy", one_channel(shape), dtype, normal()), variant.layout, 0),
                   laid_out(input("a", shape, dtype, normal()), variant.layout, 1),
                   laid_out(input("b", shape, dtype, normal()), variant.layout, 2),
                   result("da", shape, dtype, variant, 3), result("db", shape, dtype, variant, 4)},
      .prepare = prepare,
      .forward = std::make_shared<OpCase>(dot(shape, dtype))};
}

namespace {

/// The output is the second operand's view rather than the first's.
OpCase add_into_second(Shape shape, DType dtype, float factor, Layout layout) {
  OpCase op = add(shape, dtype, factor, false, {.layout = layout});
  op.name += "_into_second";
  std::erase_if(op.operands, [](const Operand& o) { return o.name == "y"; });
  for (Operand& operand : op.operands)
    if (operand.name == "b") {
      operand.role = Role::update;
      operand.slack = factor == 1 ? 0 : 1;
    }
  op.prepare = [factor](Ops& ops) {
    PreparedOp prepared;
    prepared.call = [factor, &ops](const Arguments& a) {
      ops.elementwise->add(a("a"), a("b"), factor, a("b"), false);
    };
    return prepared;
  };
  return op;
}

OpCase add_mixed(DType wide, DType narrow, float factor) {
  OpCase op = add({2, 5, 9, 12}, wide, factor, true);
  op.name += "_mixed_with_" + std::string(name_of(narrow));
  for (Operand& operand : op.operands)
    if (operand.name != "a") operand.dtype = narrow;
  return op;
}

/// Values that round up to infinity, to subnormals and to zero, and NaN.
OpCase copy_extremes(DType to) {
  OpCase op = copy({2, 5, 9, 11}, DType::f32, to);
  op.name += "_extremes";
  op.operands[0].fill = [](std::span<double> values, std::mt19937& random) {
    std::uniform_real_distribution<double> exponent(-150, 128);
    for (double& v : values) v = (random() & 1 ? 1 : -1) * std::exp2(exponent(random));
    values[0] = std::numeric_limits<double>::quiet_NaN();
  };
  return op;
}

}  // namespace

std::vector<OpCase> elementwise_cases() {
  std::vector<OpCase> cases;
  for (const ShapeVariant& s : element_shapes()) {
    const Variant variant{.layout = s.layout};
    const Variant adding{.layout = s.layout, .accumulate = true};
    cases.push_back(copy(s.shape, DType::u8, DType::u8, variant));
    for (const DType from : kFloatTypes) {
      for (const DType to : kFloatTypes) {
        cases.push_back(copy(s.shape, from, to, variant));
        cases.push_back(copy(s.shape, from, to, adding));
        cases.push_back(scale(s.shape, from, to, variant));
        cases.push_back(scale(s.shape, from, to, adding));
      }
      for (const float factor : {1.0f, kFactor}) {
        cases.push_back(add(s.shape, from, factor, false, variant));
        cases.push_back(add(s.shape, from, factor, true, variant));
      }
      cases.push_back(fill(s.shape, from, variant));
      for (const Variant& v : {variant, adding}) {
        for (const bool factors : {false, true}) {
          cases.push_back(multiply(s.shape, from, factors, v));
          cases.push_back(multiply_backward(s.shape, from, factors, v));
        }
        cases.push_back(dot(s.shape, from, v));
        cases.push_back(dot_backward(s.shape, from, v));
      }
    }
  }
  for (const DType dtype : kFloatTypes) {
    cases.push_back(copy_extremes(dtype));
    for (const Layout layout : {Layout::dense, Layout::slices, Layout::ragged_slices}) {
      const Variant in_place{.layout = layout, .in_place = true};
      cases.push_back(scale({2, 5, 9, 8}, dtype, dtype, in_place));
      for (const bool factors : {false, true}) {
        cases.push_back(multiply({2, 5, 9, 8}, dtype, factors, in_place));
      }
      for (const float factor : {1.0f, kFactor}) {
        cases.push_back(add({2, 5, 9, 8}, dtype, factor, true, in_place));
        cases.push_back(add_into_second({2, 5, 9, 8}, dtype, factor, layout));
      }
    }
    if (dtype == DType::f32) continue;
    for (const float factor : {1.0f, kFactor}) {
      cases.push_back(add_mixed(DType::f32, dtype, factor));
      cases.push_back(add_mixed(dtype, DType::f32, factor));
    }
  }
  return cases;
}

}  // namespace macadam::testing
