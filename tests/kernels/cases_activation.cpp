#include "tests/kernels/op_cases.h"

namespace macadam::testbed {
namespace {

const StepState kState{.step = (uint64_t{1} << 32) + 7, .lr = 0};

Dropout dropout_of(float p, const Arguments& a) {
  return {
      .p = p, .seed = 0x0123456789abcdefULL, .layer = 3, .state = a.pointer<StepState>("state")};
}

std::string percent(float p) { return "_p" + std::to_string(static_cast<int>(p * 100 + 0.5f)); }

/// x -> y of equal shape, or x updated in place.
std::vector<Operand> unary(const std::string& x, const std::string& y, Shape shape, DType dtype,
                           Fill fill, Variant variant) {
  if (variant.in_place)
    return {laid_out(update(x, shape, dtype, std::move(fill)), variant.layout, 0).exact()};
  Operand out =
      variant.accumulate ? update(y, shape, dtype, normal()) : output(y, shape, dtype).exact();
  return {laid_out(input(x, shape, dtype, std::move(fill)), variant.layout, 0),
          laid_out(std::move(out), variant.layout, 1)};
}

}  // namespace

OpCase relu(Shape shape, DType dtype, Variant variant) {
  const auto prepare = [](Ops& ops) {
    PreparedOp op;
    op.call = [&ops](const Arguments& a) { ops.activation->relu(a("x"), a.either("y", "x")); };
    return op;
  };
  return OpCase{.op = "relu",
                .name = shape.text() + variant.suffix(),
                .dtype = dtype,
                .operands = unary("x", "y", shape, dtype, away_from_zero(), variant),
                .prepare = prepare,
                .forward = nullptr};
}

OpCase relu_backward(Shape shape, DType dtype, float scale, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.activation->relu_backward(a("y"), a("dy"), a.either("dx", "dy"), scale,
                                    variant.accumulate);
    };
    return op;
  };
  OpCase op{.op = "relu_backward",
            .name = shape.text() + (scale == 1 ? "" : "_scaled") + variant.suffix(),
            .dtype = dtype,
            .operands = unary("dy", "dx", shape, dtype, normal(), variant),
            .prepare = prepare,
            .forward = nullptr};
  op.operands.push_back(laid_out(input("y", shape, dtype, integers(-1, 2)), variant.layout, 2));
  if (scale == 1) op.forward = std::make_shared<OpCase>(relu(shape, dtype));
  return op;
}

OpCase dropout(Shape shape, DType dtype, float p, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.activation->dropout(a("x"), a.either("y", "x"), dropout_of(p, a));
    };
    return op;
  };
  OpCase op{.op = "dropout",
            .name = shape.text() + percent(p) + variant.suffix(),
            .dtype = dtype,
            .operands = unary("x", "y", shape, dtype, normal(), variant),
            .prepare = prepare,
            .forward = nullptr};
  op.operands.push_back(raw<StepState>("state", Role::input, {kState}));
  return op;
}

OpCase dropout_backward(Shape shape, DType dtype, float p, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.activation->dropout_backward(a("dy"), a.either("dx", "dy"), dropout_of(p, a),
                                       variant.accumulate);
    };
    return op;
  };
  OpCase op{.op = "dropout_backward",
            .name = shape.text() + percent(p) + variant.suffix(),
            .dtype = dtype,
            .operands = unary("dy", "dx", shape, dtype, normal(), variant),
            .prepare = prepare,
            .forward = std::make_shared<OpCase>(dropout(shape, dtype, p))};
  op.operands.push_back(raw<StepState>("state", Role::input, {kState}));
  return op;
}

namespace {

OpCase relu_of_specials(DType dtype) {
  OpCase op = relu({2, 5, 9, 11}, dtype);
  op.name += "_specials";
  op.operands[0].fill = with_specials();
  return op;
}

}  // namespace

std::vector<OpCase> activation_cases() {
  std::vector<OpCase> cases;
  for (const DType dtype : kFloatTypes) {
    cases.push_back(relu_of_specials(dtype));
    for (const ShapeVariant& s : element_shapes()) {
      const Variant variant{.layout = s.layout};
      const Variant adding{.layout = s.layout, .accumulate = true};
      cases.push_back(relu(s.shape, dtype, variant));
      cases.push_back(relu_backward(s.shape, dtype, 1, variant));
      cases.push_back(relu_backward(s.shape, dtype, 1.25f, adding));
      cases.push_back(dropout(s.shape, dtype, 0.5f, variant));
      cases.push_back(dropout_backward(s.shape, dtype, 0.1f, variant));
      cases.push_back(dropout_backward(s.shape, dtype, 0.5f, adding));
    }
    for (const Layout layout : {Layout::dense, Layout::slices, Layout::ragged_slices}) {
      const Variant in_place{.layout = layout, .in_place = true};
      cases.push_back(relu({2, 5, 9, 8}, dtype, in_place));
      cases.push_back(relu_backward({2, 5, 9, 8}, dtype, 1.25f, in_place));
      cases.push_back(dropout({2, 5, 9, 11}, dtype, 0.1f, in_place));
      cases.push_back(dropout_backward({2, 5, 9, 11}, dtype, 0.1f, in_place));
    }
    cases.push_back(dropout({2, 5, 9, 11}, dtype, 0.0f));
  }
  return cases;
}

}  // namespace macadam::testbed
