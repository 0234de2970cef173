#include <cmath>

#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

constexpr double kSumSlack = 4;  // sums over all pixels, in any order

/// Values of y on both sides of every kink, and the kinks.
Fill outputs_of(Activation kind) {
  switch (kind) {
    case Activation::sigmoid: return uniform(0, 1);
    case Activation::hardsigmoid: return values({-0.5, 0, 0.25, 0.75, 1, 1.5});
    case Activation::relu6: return integers(-1, 7);
    default: return integers(-1, 2);
  }
}

/// A shuffled ladder of step 0.25, 0.125 beside every multiple of it: finite differences meet no
/// kink at 0 or 6 and change no maximum.
Fill beside_kinks() {
  return [](std::span<double> values, std::mt19937& random) {
    distinct()(values, random);
    for (double& v : values) v = std::floor(4 * v) / 4 + 0.125;
  };
}

std::string name_of_case(const EpilogueCase& e, Variant variant) {
  std::string name = std::string(name_of(e.activation)) + "_" + e.shape.text();
  if (e.pool) {
    name += "_pool" + std::to_string(e.pool->kernel_h) + "x" + std::to_string(e.pool->kernel_w) +
            "_s" + std::to_string(e.pool->stride_h) + "x" + std::to_string(e.pool->stride_w);
    if (e.pool->ceil_mode) name += "_ceil";
  }
  if (e.scale != 1) name += "_scaled";
  if (!e.direct) name += "_pool_alone";
  if (!e.wants_dz) name += "_sums_alone";
  if (!e.wants_dbias) name += "_without_bias";
  return name + variant.suffix();
}

/// y = activation(x + bias), p = the max pooling of y.
OpCase forward_of(const EpilogueCase& e, DType dtype) {
  const auto prepare = [e](Ops& ops) {
    PreparedOp op;
    op.call = [e, &ops](const Arguments& a) {
      ops.channel->add_bias(a("x"), a("bias"), a("y"));
      ops.activation->activate(e.activation, a("y"), a("y"));
      if (e.pool) ops.pool->max(*e.pool, a("y"), a("p"), a("index"));
    };
    return op;
  };
  const bool kinks = e.activation != Activation::sigmoid;
  OpCase op{.op = "epilogue",
            .name = name_of_case(e, {}),
            .dtype = dtype,
            .operands = {input("x", e.shape, dtype, kinks ? beside_kinks() : normal()),
                         input("bias", {1, 1, 1, e.shape.c}, DType::f32, values({-0.5, 1})),
                         output("y", e.shape, dtype)},
            .prepare = prepare,
            .forward = nullptr};
  if (e.pool) {
    const Shape pooled = e.pool->output(e.shape);
    op.operands.push_back(output("p", pooled, dtype));
    op.operands.push_back(output("index", pooled, DType::u8));
  }
  return op;
}

}  // namespace

OpCase epilogue_backward(const EpilogueCase& e, DType dtype, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.workspace_bytes = ops.epilogue->workspace_bytes(e.shape);
    op.call = [=, &ops](const Arguments& a) {
      const EpilogueDesc desc{.activation = e.activation, .scale = e.scale, .pool = e.pool};
      ops.epilogue->backward(desc,
                             {.y = a.optional("y"),
                              .dy = a.optional("dy"),
                              .dpooled = a.optional("dp"),
                              .index = a.optional("index"),
                              .dz = variant.in_place ? a("dy") : a.optional("dx"),
                              .dbias = a.optional("dbias")},
                             a.workspace());
    };
    return op;
  };
  OpCase op{.op = "epilogue_backward",
            .name = name_of_case(e, variant),
            .dtype = dtype,
            .operands = {},
            .prepare = prepare,
            .forward = nullptr};
  // A gradient of one source is only chosen and scaled; the sum of two is rounded.
  const bool computed =
      e.activation == Activation::sigmoid || e.activation == Activation::hardsigmoid;
  const bool exact = !computed && !(e.pool && e.direct);
  if (variant.in_place) {
    op.operands.push_back(
        laid_out(update("dy", e.shape, dtype, normal()), variant.layout, 0).loose(exact ? 0 : 1));
  } else if (e.direct) {
    op.operands.push_back(laid_out(input("dy", e.shape, dtype, normal()), variant.layout, 0));
  }
  if (e.wants_dz && !variant.in_place) {
    op.operands.push_back(
        laid_out(output("dx", e.shape, dtype), variant.layout, 1).loose(exact ? 0 : 1));
  }
  if (e.wants_dbias) {
    op.operands.push_back(output("dbias", {1, 1, 1, e.shape.c}, DType::f32).loose(kSumSlack));
  }
  if (e.activation != Activation::identity) {
    op.operands.push_back(
        laid_out(input("y", e.shape, dtype, outputs_of(e.activation)), variant.layout, 2));
  }
  if (e.pool) {
    const Shape pooled = e.pool->output(e.shape);
    op.operands.push_back(laid_out(input("dp", pooled, dtype, normal()), variant.layout, 3));
    op.operands.push_back(
        input("index", pooled, DType::u8, integers(0, e.pool->kernel_h * e.pool->kernel_w - 1)));
  }
  // The maxima of sigmoids lie too close for finite differences.
  const bool close = e.activation == Activation::sigmoid && e.pool;
  if (e.scale == 1 && !close) op.forward = std::make_shared<OpCase>(forward_of(e, dtype));
  return op;
}

std::vector<OpCase> epilogue_cases() {
  std::vector<ShapeVariant> shapes = element_shapes();
  shapes.push_back({{2, 67, 71, 24}});   // several chunks of a sum
  shapes.push_back({{1, 37, 41, 259}});  // that, and odd, and more channels than a block covers
  std::vector<ShapeVariant> sums = shapes;
  sums.push_back({{1, 500, 600, 3}});
  for (const Shape& shape : {Shape{1, 5, 9, 19}, Shape{2, 67, 71, 11}, Shape{1, 7, 9, 255}}) {
    sums.push_back({shape, Layout::padded});
  }
  const PoolDesc halve;
  const PoolDesc sparse{.kernel_h = 2, .kernel_w = 2, .stride_h = 3, .stride_w = 4};
  const PoolDesc padded{
      .kernel_h = 3, .kernel_w = 2, .stride_h = 3, .stride_w = 2, .padding = {1, 0, 2, 1}};
  PoolDesc up = halve, up_padded = padded;
  up.ceil_mode = up_padded.ceil_mode = true;
  struct Pooling {
    Shape shape;
    PoolDesc desc;
    Layout layout = Layout::dense;
  };
  const Pooling poolings[] = {{{1, 2, 2, 1}, halve},
                              {{2, 5, 9, 3}, halve},
                              {{1, 16, 32, 32}, halve},
                              {{2, 17, 23, 64}, halve},
                              {{1, 6, 1023, 8}, halve},
                              {{1, 41, 37, 259}, halve},
                              {{1, 17, 23, 8}, sparse},
                              {{1, 10, 9, 12}, padded},
                              {{2, 5, 9, 3}, up},
                              {{1, 17, 23, 64}, up},
                              {{1, 11, 8, 8}, up_padded},
                              {{2, 16, 32, 16}, halve, Layout::slices},
                              {{2, 5, 9, 19}, halve, Layout::ragged_slices},
                              {{1, 10, 9, 8}, padded, Layout::ragged_slices}};

  std::vector<OpCase> cases;
  for (const DType dtype : kFloatTypes) {
    for (const ShapeVariant& s : shapes) {
      const Variant plain{.layout = s.layout}, in_place{.layout = s.layout, .in_place = true};
      const EpilogueCase relu{.activation = Activation::relu, .shape = s.shape};
      EpilogueCase dropped = relu;
      dropped.scale = 1.25f;
      cases.push_back(epilogue_backward(relu, dtype, plain));
      cases.push_back(epilogue_backward(dropped, dtype, in_place));
      cases.push_back(epilogue_backward({.shape = s.shape}, dtype, plain));
    }
    for (const ShapeVariant& s : sums) {
      const Variant plain{.layout = s.layout}, in_place{.layout = s.layout, .in_place = true};
      cases.push_back(epilogue_backward({.shape = s.shape, .wants_dz = false}, dtype, plain));
      cases.push_back(epilogue_backward({.shape = s.shape}, dtype, in_place));
    }
    for (const Activation kind :
         {Activation::relu6, Activation::sigmoid, Activation::hardsigmoid}) {
      for (const Shape& shape : {Shape{2, 5, 9, 11}, Shape{1, 16, 32, 32}}) {
        cases.push_back(epilogue_backward({.activation = kind, .shape = shape}, dtype));
      }
    }
    for (const Pooling& p : poolings) {
      const Variant plain{.layout = p.layout}, in_place{.layout = p.layout, .in_place = true};
      const EpilogueCase both{.activation = Activation::relu, .shape = p.shape, .pool = p.desc};
      EpilogueCase alone = both;
      alone.direct = false;
      cases.push_back(epilogue_backward(both, dtype, plain));
      cases.push_back(epilogue_backward(both, dtype, in_place));
      cases.push_back(epilogue_backward(alone, dtype, plain));
    }
    const Shape small{2, 6, 10, 16};
    cases.push_back(epilogue_backward(
        {.activation = Activation::relu, .shape = small, .scale = 1.25f, .pool = halve}, dtype));
    cases.push_back(epilogue_backward(
        {.activation = Activation::sigmoid, .shape = small, .pool = halve}, dtype));
    cases.push_back(epilogue_backward({.shape = small, .pool = halve, .direct = false}, dtype));
    for (const bool direct : {true, false}) {
      cases.push_back(epilogue_backward({.activation = Activation::relu,
                                         .shape = small,
                                         .pool = halve,
                                         .direct = direct,
                                         .wants_dbias = false},
                                        dtype));
    }
  }
  return cases;
}

}  // namespace macadam::testing
