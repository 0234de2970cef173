#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

constexpr double kStatisticsSlack = 4;  // sums over all pixels, in any order

constexpr StepState kState{.step = (uint64_t{1} << 32) + 7, .lr = 0};

std::string name_of_case(Shape shape, const BatchNormDesc& desc, Variant variant) {
  const bool plain = desc.activation == Activation::identity;
  return shape.text() + (desc.frozen ? "_frozen" : "") + (desc.adds ? "_add" : "") +
         (desc.drop_path.p > 0 ? "_drop" : "") +
         (plain ? "" : "_" + std::string(name_of(desc.activation))) + variant.suffix();
}

Operand vector_input(std::string name, Shape shape, Fill fill) {
  return input(std::move(name), {1, 1, 1, shape.c}, DType::f32, std::move(fill));
}

Operand vector_output(std::string name, Shape shape) {
  return output(std::move(name), {1, 1, 1, shape.c}, DType::f32).loose(kStatisticsSlack);
}

Operand vector_update(std::string name, Shape shape, Fill fill) {
  return update(std::move(name), {1, 1, 1, shape.c}, DType::f32, std::move(fill))
      .loose(kStatisticsSlack);
}

Operand activation(Operand operand, Variant variant, int salt) {
  return laid_out(std::move(operand), variant.layout, salt).loose(kStatisticsSlack);
}

/// With the step that stochastic depth reads.
BatchNormDesc with_state(BatchNormDesc desc, const Arguments& a) {
  if (desc.drop_path.p > 0) desc.drop_path.state = a.pointer<const StepState>("state");
  return desc;
}

void add_state(const BatchNormDesc& desc, OpCase& op) {
  if (desc.drop_path.p > 0) op.operands.push_back(raw<StepState>("state", Role::input, {kState}));
}

}  // namespace

OpCase batch_norm_train(Shape shape, DType dtype, const BatchNormDesc& desc, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.workspace_bytes = ops.norm->workspace_bytes(shape);
    op.call = [=, &ops](const Arguments& a) {
      ops.norm->train(with_state(desc, a), a("x"), a("gamma"), a("beta"), a("running_mean"),
                      a("running_var"), a("saved_mean"), a("saved_inv_std"), a.optional("skip"),
                      a("y"), a.workspace());
    };
    return op;
  };
  // Frozen statistics must stay as they are.
  const auto running = desc.frozen ? vector_input : vector_update;
  // y of a single value is beta, as the difference of terms hundreds of times larger.
  const double slack = shape.pixels() == 1 ? 64 * kStatisticsSlack : kStatisticsSlack;
  OpCase op{
      .op = "batch_norm_train",
      .name = name_of_case(shape, desc, variant),
      .dtype = dtype,
      .operands = {activation(input("x", shape, dtype, normal(0.5, 1.5)), variant, 0),
                   vector_input("gamma", shape, uniform(0.5, 2)),
                   vector_input("beta", shape, normal()), running("running_mean", shape, normal()),
                   running("running_var", shape, uniform(0.5, 2)),
                   vector_output("saved_mean", shape), vector_output("saved_inv_std", shape),
                   activation(output("y", shape, dtype), variant, 1).loose(slack)},
      .prepare = prepare,
      .forward = nullptr};
  if (desc.adds) {
    op.operands.push_back(activation(input("skip", shape, dtype, normal()), variant, 4));
  }
  add_state(desc, op);
  return op;
}

OpCase batch_norm_infer(Shape shape, DType dtype, const BatchNormDesc& desc, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.norm->infer(desc, a("x"), a("gamma"), a("beta"), a("running_mean"), a("running_var"),
                      a("y"));
    };
    return op;
  };
  return OpCase{.op = "batch_norm_infer",
                .name = name_of_case(shape, desc, variant),
                .dtype = dtype,
                .operands = {activation(input("x", shape, dtype, normal(0.5, 1.5)), variant, 0),
                             vector_input("gamma", shape, uniform(0.5, 2)),
                             vector_input("beta", shape, normal()),
                             vector_input("running_mean", shape, normal()),
                             vector_input("running_var", shape, uniform(0.5, 2)),
                             activation(output("y", shape, dtype), variant, 1)},
                .prepare = prepare,
                .forward = nullptr};
}

OpCase batch_norm_backward(Shape shape, DType dtype, const BatchNormDesc& desc, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.workspace_bytes = ops.norm->workspace_bytes(shape);
    op.call = [=, &ops](const Arguments& a) {
      ops.norm->backward(with_state(desc, a), a("x"), a("dy"), a.optional("dmeans"), a("gamma"),
                         a("beta"), a("saved_mean"), a("saved_inv_std"),
                         {a.optional("y"), a.optional("dskip"), variant.accumulate},
                         a.either("dx", "dy"), a("dgamma"), a("dbeta"), a.workspace());
    };
    return op;
  };
  OpCase op{
      .op = "batch_norm_backward",
      .name = name_of_case(shape, desc, variant),
      .dtype = dtype,
      .operands = {activation(input("x", shape, dtype, normal()), variant, 0),
                   vector_input("gamma", shape, normal()), vector_input("beta", shape, normal()),
                   vector_input("saved_mean", shape, normal()),
                   vector_input("saved_inv_std", shape, normal()), vector_output("dgamma", shape),
                   vector_output("dbeta", shape)},
      .prepare = prepare,
      .forward = std::make_shared<OpCase>(batch_norm_train(shape, dtype, desc))};
  if (variant.in_place) {
    op.operands.push_back(activation(update("dy", shape, dtype, normal()), variant, 2));
  } else {
    op.operands.push_back(activation(input("dy", shape, dtype, normal()), variant, 2));
    op.operands.push_back(activation(output("dx", shape, dtype), variant, 3));
  }
  if (desc.backward_reads_output()) {
    op.operands.push_back(activation(input("y", shape, dtype, normal()), variant, 1));
  }
  if (desc.adds) {
    op.operands.push_back(activation(variant.accumulate ? update("dskip", shape, dtype, normal())
                                                        : output("dskip", shape, dtype),
                                     variant, 5));
  }
  add_state(desc, op);
  return op;
}

namespace {

OpCase batch_norm_fold(Shape weights, bool bias) {
  const auto prepare = [](Ops& ops) {
    PreparedOp op;
    op.call = [&ops](const Arguments& a) {
      ops.norm->fold({.eps = 1e-3f}, a("w"), a.optional("b"), a("gamma"), a("beta"),
                     a("running_mean"), a("running_var"), a("folded_w"), a("folded_b"));
    };
    return op;
  };
  const Shape filters{1, 1, 1, weights.n};
  OpCase op{
      .op = "batch_norm_fold",
      .name = weights.text() + (bias ? "_bias" : ""),
      .dtype = DType::f32,
      .operands = {input("w", weights, DType::f32, normal()),
                   vector_input("gamma", filters, uniform(0.5, 2)),
                   vector_input("beta", filters, normal()),
                   vector_input("running_mean", filters, normal()),
                   vector_input("running_var", filters, uniform(0.5, 2)),
                   output("folded_w", weights, DType::f32), vector_output("folded_b", filters)},
      .prepare = prepare,
      .forward = nullptr};
  if (bias) op.operands.push_back(vector_input("b", filters, normal()));
  return op;
}

OpCase composed_convolutions(Shape first, int filters) {
  const auto prepare = [](Ops& ops) {
    PreparedOp op;
    op.call = [&ops](const Arguments& a) {
      ops.norm->compose(a("first"), a("first_bias"), a("second"), a("second_bias"), a("product"),
                        a("product_bias"));
    };
    return op;
  };
  const Shape vector{1, 1, 1, filters}, product{filters, first.h, first.w, first.c};
  const double sums = first.n;  // of so many terms
  return OpCase{.op = "compose",
                .name = first.text() + "_to_" + std::to_string(filters),
                .dtype = DType::f32,
                .operands = {input("first", first, DType::f32, normal()),
                             vector_input("first_bias", {1, 1, 1, first.n}, normal()),
                             input("second", {filters, 1, 1, first.n}, DType::f32, normal()),
                             vector_input("second_bias", vector, normal()),
                             output("product", product, DType::f32).loose(sums),
                             vector_output("product_bias", vector)},
                .prepare = prepare,
                .forward = nullptr};
}

/// Channels whose values lie far from zero: cancellation ruins a variance taken as
/// E[x^2] - E[x]^2 in fp32.
OpCase batch_norm_far_from_zero() {
  OpCase op = batch_norm_train({2, 17, 23, 8}, DType::f32, {});
  op.name += "_far_from_zero";
  for (Operand& operand : op.operands) {
    if (operand.name == "x") operand.fill = normal(100, 1);
    operand.slack = 40;  // a mean of 100 carries a rounding error of 4e-6
  }
  return op;
}

/// Of the gradients of x and of what is added, in the memory of dy or apart, those that are wanted.
struct WantedGradients {
  bool dx = true, dskip = true;
  bool dskip_over_dy = false;
};

OpCase batch_norm_backward_wanting(Shape shape, DType dtype, const BatchNormDesc& desc,
                                   WantedGradients wanted, Layout layout) {
  OpCase op = batch_norm_backward(shape, dtype, desc, {.layout = layout});
  op.name += std::string(wanted.dx ? "" : "_without_dx") + (wanted.dskip ? "" : "_without_dskip") +
             (wanted.dskip_over_dy ? "_over_dy" : "");
  op.prepare = [=](Ops& ops) {
    PreparedOp prepared;
    prepared.workspace_bytes = ops.norm->workspace_bytes(shape);
    prepared.call = [=, &ops](const Arguments& a) {
      const Tensor dskip = wanted.dskip_over_dy ? a("dy") : a.optional("dskip");
      ops.norm->backward(with_state(desc, a), a("x"), a("dy"), a.optional("dmeans"), a("gamma"),
                         a("beta"), a("saved_mean"), a("saved_inv_std"),
                         {a.optional("y"), dskip, false}, a.optional("dx"), a("dgamma"), a("dbeta"),
                         a.workspace());
    };
    return prepared;
  };
  std::erase_if(op.operands, [&](const Operand& operand) {
    return (operand.name == "dx" && !wanted.dx) ||
           (operand.name == "dskip" && (!wanted.dskip || wanted.dskip_over_dy));
  });
  for (Operand& operand : op.operands) {
    if (operand.name == "dy" && wanted.dskip_over_dy) operand.role = Role::update;
  }
  return op;
}

/// Of a norm whose y has its mean taken over each image as well.
OpCase batch_norm_backward_with_means(Shape shape, DType dtype, const BatchNormDesc& desc,
                                      Variant variant = {}) {
  const Shape means{shape.n, 1, 1, shape.c};
  OpCase op = batch_norm_backward(shape, dtype, desc, variant);
  op.name += "_means";
  op.operands.push_back(laid_out(input("dmeans", means, dtype, normal(0, 30)), variant.layout, 4));
  OpCase forward = *op.forward;
  const auto train = forward.prepare;
  forward.prepare = [=](Ops& ops) {
    PreparedOp prepared = train(ops);
    const size_t norm_bytes = (prepared.workspace_bytes + 63) / 64 * 64;
    prepared.workspace_bytes = norm_bytes + ops.channel->workspace_bytes(shape);
    prepared.call = [=, &ops, norm = prepared.call](const Arguments& a) {
      norm(a);
      auto* scratch = static_cast<std::byte*>(a.workspace()) + norm_bytes;
      ops.channel->mean(a("y"), a("means"), scratch);
    };
    return prepared;
  };
  forward.operands.push_back(output("means", means, dtype));
  op.forward = std::make_shared<OpCase>(std::move(forward));
  return op;
}

/// Activations without values near their kinks, for finite differences: every channel is all on or
/// all off.
OpCase batch_norm_separated(const BatchNormDesc& desc) {
  const Shape shape{2, 5, 9, 5};
  OpCase op = batch_norm_backward(shape, DType::f32, desc);
  OpCase forward = *op.forward;
  for (Operand& operand : forward.operands) {
    if (operand.name == "gamma") operand.fill = uniform(0.1, 0.2);
    if (operand.name == "beta") operand.fill = values({2, -2, 1.5, 4.5, -4.5});
    if (operand.name == "skip") operand.fill = uniform(-0.25, 0.25);
    if (operand.name == "running_mean") operand.fill = uniform(0, 1);
    if (operand.name == "running_var") operand.fill = uniform(2, 3);
  }
  op.name += "_separated";
  op.forward = std::make_shared<OpCase>(std::move(forward));
  return op;
}

void append_means(DType dtype, std::vector<OpCase>& cases) {
  for (const Activation activation : {Activation::identity, Activation::relu, Activation::silu}) {
    const BatchNormDesc desc{.activation = activation};
    for (const Layout layout : {Layout::dense, Layout::slices, Layout::ragged_slices}) {
      cases.push_back(
          batch_norm_backward_with_means({3, 5, 9, 24}, dtype, desc, {.layout = layout}));
    }
    cases.push_back(
        batch_norm_backward_with_means({19, 1, 2, 300}, dtype, desc, {.in_place = true}));
    cases.push_back(batch_norm_backward_with_means({2, 31, 33, 7}, dtype, desc));
  }
}

/// What is added behind the norm, with and without ReLU and stochastic depth.
void append_additions(DType dtype, std::vector<OpCase>& cases) {
  const BatchNormDesc bare{.adds = true};
  const BatchNormDesc relu{.eps = 1e-3f, .activation = Activation::relu, .adds = true};
  BatchNormDesc frozen = relu, dropped = bare, dropped_relu = relu;
  frozen.frozen = true;
  dropped.drop_path = {.p = 0.25f, .seed = 99, .layer = 3};
  dropped_relu.drop_path = {.p = 0.5f, .seed = 98, .layer = 2};
  for (const ShapeVariant& s : element_shapes()) {
    for (const BatchNormDesc& desc : {bare, relu, frozen}) {
      cases.push_back(batch_norm_train(s.shape, dtype, desc, {.layout = s.layout}));
      if (desc.frozen || s.shape.pixels() > 1) {
        for (const bool accumulate : {false, true}) {
          cases.push_back(batch_norm_backward(s.shape, dtype, desc,
                                              {.layout = s.layout, .accumulate = accumulate}));
        }
      }
    }
  }
  // Samples of one pixel, and of some.
  for (const Shape& shape : {Shape{19, 1, 1, 8}, Shape{19, 2, 3, 7}, Shape{9, 5, 9, 24}}) {
    for (const BatchNormDesc& desc : {dropped, dropped_relu}) {
      cases.push_back(batch_norm_train(shape, dtype, desc));
      for (const bool accumulate : {false, true}) {
        cases.push_back(batch_norm_backward(shape, dtype, desc, {.accumulate = accumulate}));
      }
    }
  }
  for (const Layout layout : {Layout::dense, Layout::slices, Layout::ragged_slices}) {
    for (const BatchNormDesc& desc : {bare, relu, dropped_relu}) {
      const Shape shape{2, 5, 9, 8};
      cases.push_back(
          batch_norm_backward(shape, dtype, desc, {.layout = layout, .in_place = true}));
      for (const WantedGradients& wanted :
           {WantedGradients{.dskip = false}, WantedGradients{.dskip_over_dy = true},
            WantedGradients{.dx = false}, WantedGradients{.dx = false, .dskip_over_dy = true}}) {
        cases.push_back(batch_norm_backward_wanting(shape, dtype, desc, wanted, layout));
      }
    }
  }
}

}  // namespace

std::vector<OpCase> norm_cases() {
  std::vector<OpCase> cases{batch_norm_far_from_zero()};
  for (const Activation activation :
       {Activation::relu, Activation::relu6, Activation::sigmoid, Activation::silu,
        Activation::hardswish, Activation::hardsigmoid}) {
    for (const bool frozen : {false, true})
      cases.push_back(batch_norm_separated({.activation = activation, .frozen = frozen}));
    for (const DType dtype : kFloatTypes) {
      const BatchNormDesc desc{.activation = activation};
      cases.push_back(batch_norm_train({2, 5, 9, 24}, dtype, desc));
      cases.push_back(batch_norm_infer({2, 5, 9, 24}, dtype, desc));
      cases.push_back(batch_norm_backward({2, 5, 9, 24}, dtype, desc));
    }
  }
  for (const bool frozen : {false, true}) {
    cases.push_back(
        batch_norm_separated({.activation = Activation::relu, .frozen = frozen, .adds = true}));
  }
  for (const bool bias : {false, true})
    for (const Shape& weights : {Shape{1, 1, 1, 1}, Shape{19, 3, 3, 7}, Shape{64, 5, 5, 1}})
      cases.push_back(batch_norm_fold(weights, bias));
  cases.push_back(composed_convolutions({1, 1, 1, 1}, 1));
  cases.push_back(composed_convolutions({12, 3, 3, 7}, 19));
  cases.push_back(composed_convolutions({64, 3, 3, 64}, 32));
  cases.push_back(composed_convolutions({5, 1, 1, 300}, 9));
  const BatchNormDesc plain;
  const BatchNormDesc fused{.eps = 1e-3f, .momentum = 0.01f, .activation = Activation::relu};
  const BatchNormDesc frozen{.frozen = true};
  const BatchNormDesc frozen_fused{.eps = 1e-3f, .activation = Activation::relu, .frozen = true};
  for (const DType dtype : kFloatTypes) {
    for (const ShapeVariant& s : element_shapes()) {
      const Variant variant{.layout = s.layout};
      for (const BatchNormDesc& desc : {plain, fused, frozen, frozen_fused}) {
        cases.push_back(batch_norm_train(s.shape, dtype, desc, variant));
        // The gradient through the statistics of one value is rounding noise around zero.
        if (desc.frozen || s.shape.pixels() > 1)
          cases.push_back(batch_norm_backward(s.shape, dtype, desc, variant));
      }
      for (const BatchNormDesc& desc : {plain, fused})
        cases.push_back(batch_norm_infer(s.shape, dtype, desc, variant));
    }
    for (const Layout layout : {Layout::dense, Layout::slices, Layout::ragged_slices})
      for (const BatchNormDesc& desc : {fused, frozen_fused})
        cases.push_back(
            batch_norm_backward({2, 5, 9, 8}, dtype, desc, {.layout = layout, .in_place = true}));
    cases.push_back(
        batch_norm_backward_wanting({2, 5, 9, 8}, dtype, fused, {.dx = false}, Layout::dense));
    append_additions(dtype, cases);
    append_means(dtype, cases);
  }
  return cases;
}

}  // namespace macadam::testing
