#include <cmath>
#include <limits>

#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

constexpr Activation kActivations[] = {Activation::relu,      Activation::relu6,
                                       Activation::sigmoid,   Activation::silu,
                                       Activation::hardswish, Activation::hardsigmoid};

/// Whether every backend gives the same bits: nothing is computed, only chosen.
bool is_exact(Activation kind) { return kind == Activation::relu || kind == Activation::relu6; }

/// Finite differences meet no kink: at 0 or 6, of the hard ones at -3 or 3.
Fill away_from_kinks(Activation kind) {
  const bool hard = kind == Activation::hardswish || kind == Activation::hardsigmoid;
  return [shift = hard ? -3.0 : 0.0](std::span<double> values, std::mt19937& random) {
    std::uniform_real_distribution<double> below(-2, -0.25), between(0.25, 5.75), above(6.25, 8);
    for (double& v : values) {
      const auto side = random() % 4;
      v = shift + (side == 0 ? below(random) : side == 1 ? above(random) : between(random));
    }
  };
}

/// Borders, values whose exponential over- or underflows, signed zeros, infinities and NaN.
Fill extremes() {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const float below_3 = std::nextafter(3.0f, 0.0f), above_3 = std::nextafter(3.0f, infinity);
  const float below_6 = std::nextafter(6.0f, 0.0f), above_6 = std::nextafter(6.0f, infinity);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  return values({0,      -0.0,    6,        -6,        below_6, above_6, 5.9375,  1e-30,
                 -1e-30, 0.5,     -0.5,     87,        -87,     88,      -88,     -87.5,
                 89,     -89,     infinity, -infinity, nan,     1,       17,      -17,
                 -1,     100,     -100,     1e4,       -1e4,    -1.25,   -1.2785, 3,
                 -3,     below_3, above_3,  -below_3,  -above_3});
}

const StepState kState{.step = (uint64_t{1} << 32) + 7, .lr = 0};

Dropout dropout_of(float p, const Arguments& a) {
  return {
      .p = p, .seed = 0x0123456789abcdefULL, .layer = 3, .state = a.pointer<StepState>("state")};
}

std::string percent(float p) { return "_p" + std::to_string(static_cast<int>(p * 100 + 0.5f)); }

/// x -> y of equal shape, or x updated in place.
std::vector<Operand> unary(const std::string& x, const std::string& y, Shape shape, DType dtype,
                           Fill fill, Variant variant, bool exact = true) {
  const double slack = exact ? 0 : 1;
  if (variant.in_place) {
    Operand both = update(x, shape, dtype, std::move(fill));
    return {laid_out(std::move(both), variant.layout, 0).loose(slack)};
  }
  Operand out =
      variant.accumulate ? update(y, shape, dtype, normal()) : output(y, shape, dtype).loose(slack);
  return {laid_out(input(x, shape, dtype, std::move(fill)), variant.layout, 0),
          laid_out(std::move(out), variant.layout, 1)};
}

}  // namespace

OpCase activate(Activation kind, Shape shape, DType dtype, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.activation->activate(kind, a("x"), a.either("y", "x"));
    };
    return op;
  };
  return OpCase{
      .op = std::string(name_of(kind)),
      .name = shape.text() + variant.suffix(),
      .dtype = dtype,
      .operands = unary("x", "y", shape, dtype, away_from_kinks(kind), variant, is_exact(kind)),
      .prepare = prepare,
      .forward = nullptr};
}

OpCase activate_backward(Activation kind, Shape shape, DType dtype, Variant variant) {
  const char* saved = gradient_reads_input(kind) ? "x" : "y";
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.activation->activate_backward(kind, a(saved), a("dy"), a.either("dx", "dy"),
                                        variant.accumulate);
    };
    return op;
  };
  OpCase op{.op = "activate_backward",
            .name = std::string(name_of(kind)) + "_" + shape.text() + variant.suffix(),
            .dtype = dtype,
            .operands = unary("dy", "dx", shape, dtype, normal(), variant, is_exact(kind)),
            .prepare = prepare,
            .forward = std::make_shared<OpCase>(activate(kind, shape, dtype))};
  op.operands.push_back(laid_out(input(saved, shape, dtype, normal()), variant.layout, 2));
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

OpCase drop_path(Shape shape, DType dtype, float p, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.activation->drop_path(a("x"), a.either("y", "x"), dropout_of(p, a), variant.accumulate);
    };
    return op;
  };
  OpCase op{.op = "drop_path",
            .name = shape.text() + percent(p) + variant.suffix(),
            .dtype = dtype,
            .operands = unary("x", "y", shape, dtype, normal(), variant),
            .prepare = prepare,
            .forward = nullptr};
  op.operands.push_back(raw<StepState>("state", Role::input, {kState}));
  return op;
}

OpCase drop_path_backward(Shape shape, DType dtype, float p, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.activation->drop_path(a("dy"), a.either("dx", "dy"), dropout_of(p, a),
                                variant.accumulate);
    };
    return op;
  };
  OpCase op{.op = "drop_path_backward",
            .name = shape.text() + percent(p) + variant.suffix(),
            .dtype = dtype,
            .operands = unary("dy", "dx", shape, dtype, normal(), variant),
            .prepare = prepare,
            .forward = std::make_shared<OpCase>(drop_path(shape, dtype, p))};
  op.operands.push_back(raw<StepState>("state", Role::input, {kState}));
  return op;
}

namespace {

OpCase activate_extremes(Activation kind, DType dtype) {
  OpCase op = activate(kind, {2, 5, 9, 11}, dtype);
  op.name += "_extremes";
  op.operands[0].fill = extremes();
  return op;
}

OpCase activate_backward_extremes(Activation kind, DType dtype) {
  OpCase op = activate_backward(kind, {2, 5, 9, 11}, dtype);
  op.name += "_extremes";
  op.forward = nullptr;
  op.operands.back().fill = extremes();
  return op;
}

void append_activation_cases(Activation kind, DType dtype, std::vector<OpCase>& cases) {
  cases.push_back(activate_extremes(kind, dtype));
  cases.push_back(activate_backward_extremes(kind, dtype));
  for (const ShapeVariant& s : element_shapes()) {
    const Variant variant{.layout = s.layout};
    cases.push_back(activate(kind, s.shape, dtype, variant));
    cases.push_back(activate_backward(kind, s.shape, dtype, variant));
    cases.push_back(
        activate_backward(kind, s.shape, dtype, {.layout = s.layout, .accumulate = true}));
  }
  for (const Layout layout : {Layout::dense, Layout::slices, Layout::ragged_slices}) {
    const Variant in_place{.layout = layout, .in_place = true};
    cases.push_back(activate(kind, {2, 5, 9, 8}, dtype, in_place));
    cases.push_back(activate_backward(kind, {2, 5, 9, 8}, dtype, in_place));
  }
}

void append_drop_path_cases(DType dtype, std::vector<OpCase>& cases) {
  // Samples of less than a vector, of whole vectors, and of neither.
  for (const Shape& shape :
       {Shape{19, 1, 1, 1}, Shape{19, 1, 1, 3}, Shape{19, 2, 3, 8}, Shape{19, 2, 3, 7}}) {
    cases.push_back(drop_path(shape, dtype, 0.5f));
    cases.push_back(drop_path_backward(shape, dtype, 0.5f));
  }
  for (const ShapeVariant& s : element_shapes()) {
    cases.push_back(drop_path(s.shape, dtype, 0.25f, {.layout = s.layout}));
    cases.push_back(
        drop_path_backward(s.shape, dtype, 0.5f, {.layout = s.layout, .accumulate = true}));
  }
  for (const Layout layout : {Layout::dense, Layout::slices, Layout::ragged_slices})
    cases.push_back(drop_path({9, 2, 3, 11}, dtype, 0.5f, {.layout = layout, .in_place = true}));
  cases.push_back(drop_path({9, 2, 3, 11}, dtype, 0.0f));
}

}  // namespace

std::vector<OpCase> activation_cases() {
  std::vector<OpCase> cases;
  for (const DType dtype : kFloatTypes) {
    for (const Activation kind : kActivations) append_activation_cases(kind, dtype, cases);
    append_drop_path_cases(dtype, cases);
    for (const ShapeVariant& s : element_shapes()) {
      const Variant variant{.layout = s.layout};
      const Variant adding{.layout = s.layout, .accumulate = true};
      cases.push_back(dropout(s.shape, dtype, 0.5f, variant));
      cases.push_back(dropout_backward(s.shape, dtype, 0.1f, variant));
      cases.push_back(dropout_backward(s.shape, dtype, 0.5f, adding));
    }
    for (const Layout layout : {Layout::dense, Layout::slices, Layout::ragged_slices}) {
      const Variant in_place{.layout = layout, .in_place = true};
      cases.push_back(dropout({2, 5, 9, 11}, dtype, 0.1f, in_place));
      cases.push_back(dropout_backward({2, 5, 9, 11}, dtype, 0.1f, in_place));
    }
    cases.push_back(dropout({2, 5, 9, 11}, dtype, 0.0f));
  }
  return cases;
}

}  // namespace macadam::testing
