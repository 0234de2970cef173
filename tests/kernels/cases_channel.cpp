#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

constexpr double kSumSlack = 4;  // sums over all pixels, in any order

Shape factors_of(Shape shape) { return {shape.n, 1, 1, shape.c}; }

/// One value an image and channel, laid out as the images where it is read.
Operand factors(std::string name, Shape shape, DType dtype, Variant variant, int salt) {
  return laid_out(input(std::move(name), factors_of(shape), dtype, normal()), variant.layout, salt);
}

Operand image(std::string name, Shape shape, DType dtype, Variant variant, int salt) {
  return laid_out(input(std::move(name), shape, dtype, normal(0.5, 1)), variant.layout, salt);
}

/// What the call writes: added to `name`, in place of `source`, or `name` alone.
std::vector<Operand> target(std::string name, std::string source, Shape shape, DType dtype,
                            Variant variant) {
  if (variant.in_place) {
    return {laid_out(update(std::move(source), shape, dtype, normal()), variant.layout, 0)};
  }
  Operand written = variant.accumulate ? update(std::move(name), shape, dtype, normal())
                                       : output(std::move(name), shape, dtype);
  return {image(std::move(source), shape, dtype, variant, 0),
          laid_out(std::move(written), variant.layout, 1)};
}

}  // namespace

OpCase channel_mean(Shape shape, DType dtype, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.workspace_bytes = ops.channel->workspace_bytes(shape);
    op.call = [&ops](const Arguments& a) { ops.channel->mean(a("x"), a("y"), a.workspace()); };
    return op;
  };
  return OpCase{.op = "channel_mean",
                .name = shape.text() + variant.suffix(),
                .dtype = dtype,
                .operands = {image("x", shape, dtype, variant, 0),
                             output("y", factors_of(shape), dtype).loose(kSumSlack)},
                .prepare = prepare,
                .forward = nullptr};
}

OpCase channel_mean_backward(Shape shape, DType dtype, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.channel->mean_backward(a("dy"), a("dx"), variant.accumulate);
    };
    return op;
  };
  Operand dx =
      variant.accumulate ? update("dx", shape, dtype, normal()) : output("dx", shape, dtype);
  return OpCase{.op = "channel_mean_backward",
                .name = shape.text() + variant.suffix(),
                .dtype = dtype,
                .operands = {factors("dy", shape, dtype, variant, 0),
                             laid_out(std::move(dx), variant.layout, 1)},
                .prepare = prepare,
                .forward = std::make_shared<OpCase>(channel_mean(shape, dtype))};
}

OpCase channel_scale(Shape shape, DType dtype, Variant variant) {
  const auto prepare = [](Ops& ops) {
    PreparedOp op;
    op.call = [&ops](const Arguments& a) {
      ops.channel->scale(a("x"), a("factors"), a.either("y", "x"));
    };
    return op;
  };
  OpCase op{.op = "channel_scale",
            .name = shape.text() + variant.suffix(),
            .dtype = dtype,
            .operands = target("y", "x", shape, dtype, variant),
            .prepare = prepare,
            .forward = nullptr};
  op.operands.back().slack = 0;
  op.operands.push_back(factors("factors", shape, dtype, variant, 2));
  return op;
}

OpCase channel_scale_backward(Shape shape, DType dtype, Wanted wanted, Variant variant) {
  const bool dx = wanted != Wanted::parameters, dfactors = wanted != Wanted::input;
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.workspace_bytes = ops.channel->workspace_bytes(shape);
    op.call = [=, &ops](const Arguments& a) {
      ops.channel->scale_backward(a("x"), a("factors"), a("dy"),
                                  variant.in_place ? a("dy") : a.optional("dx"), variant.accumulate,
                                  a.optional("dfactors"), a.workspace());
    };
    return op;
  };
  OpCase op{.op = "channel_scale_backward",
            .name = shape.text() + (dx ? "" : "_factors_alone") + (dfactors ? "" : "_dx_alone") +
                    variant.suffix(),
            .dtype = dtype,
            .operands = {image("x", shape, dtype, variant, 2),
                         factors("factors", shape, dtype, variant, 0)},
            .prepare = prepare,
            .forward = std::make_shared<OpCase>(channel_scale(shape, dtype))};
  for (Operand& operand : target("dx", "dy", shape, dtype, variant)) {
    if (dx || operand.name == "dy") op.operands.push_back(std::move(operand));
  }
  if (dfactors) {
    op.operands.push_back(output("dfactors", factors_of(shape), dtype).loose(kSumSlack));
  }
  return op;
}

OpCase channel_add_bias(Shape shape, DType dtype, Variant variant) {
  const auto prepare = [](Ops& ops) {
    PreparedOp op;
    op.call = [&ops](const Arguments& a) {
      ops.channel->add_bias(a("x"), a("bias"), a.either("y", "x"));
    };
    return op;
  };
  OpCase op{.op = "channel_add_bias",
            .name = shape.text() + variant.suffix(),
            .dtype = dtype,
            .operands = target("y", "x", shape, dtype, variant),
            .prepare = prepare,
            .forward = nullptr};
  op.operands.back().slack = 0;
  op.operands.push_back(input("bias", {1, 1, 1, shape.c}, DType::f32, normal()));
  return op;
}

namespace {

OpCase scale_specials(DType dtype) {
  OpCase op = channel_scale({2, 5, 9, 11}, dtype);
  op.name += "_specials";
  for (Operand& operand : op.operands) {
    if (operand.fill) operand.fill = with_specials();
  }
  return op;
}

}  // namespace

std::vector<OpCase> channel_cases() {
  std::vector<ShapeVariant> shapes = element_shapes();
  const ShapeVariant more[] = {{{3, 1, 1, 12}},
                               {{2, 1, 1, 7}, Layout::ragged_slices},
                               {{2, 1, 1, 48}, Layout::slices},
                               {{5, 8, 16, 40}},
                               {{2, 8, 16, 272}},   // more channels than a block covers
                               {{1, 37, 41, 259}},  // that, and odd, and more pixels than a chunk
                               {{2, 67, 71, 24}},
                               {{2, 31, 33, 16}, Layout::slices}};
  shapes.insert(shapes.end(), std::begin(more), std::end(more));

  std::vector<OpCase> cases;
  for (const DType dtype : kFloatTypes) {
    for (const ShapeVariant& s : shapes) {
      const Variant plain{.layout = s.layout};
      const Variant adding{.layout = s.layout, .accumulate = true};
      const Variant in_place{.layout = s.layout, .in_place = true};
      cases.push_back(channel_mean(s.shape, dtype, plain));
      for (const Variant& variant : {plain, adding}) {
        cases.push_back(channel_mean_backward(s.shape, dtype, variant));
        cases.push_back(channel_scale_backward(s.shape, dtype, Wanted::all, variant));
        cases.push_back(channel_scale_backward(s.shape, dtype, Wanted::input, variant));
      }
      cases.push_back(channel_scale_backward(s.shape, dtype, Wanted::parameters, plain));
      cases.push_back(channel_scale_backward(s.shape, dtype, Wanted::all, in_place));
      for (const Variant& variant : {plain, in_place}) {
        cases.push_back(channel_scale(s.shape, dtype, variant));
        cases.push_back(channel_add_bias(s.shape, dtype, variant));
      }
    }
    cases.push_back(scale_specials(dtype));
    // Hundreds of thousands of pixels: a sum in 16 bits would stop growing, one in fp32 in a single
    // row would lose digits.
    const Shape large{1, 500, 600, 3};
    cases.push_back(channel_mean(large, dtype));
    cases.push_back(channel_scale_backward(large, dtype, Wanted::parameters));
  }
  return cases;
}

}  // namespace macadam::testing
