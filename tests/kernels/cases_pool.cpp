#include <cmath>

#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

struct PoolCase {
  Shape input;
  PoolDesc desc;
  Layout layout = Layout::dense;
};

std::string name_of_case(Shape input, const PoolDesc& d, Variant variant) {
  const auto by = [](int h, int w) { return std::to_string(h) + "x" + std::to_string(w); };
  if (d.is_grid()) return input.text() + "_grid" + by(d.grid_h, d.grid_w) + variant.suffix();
  std::string name =
      input.text() + "_k" + by(d.kernel_h, d.kernel_w) + "_s" + by(d.stride_h, d.stride_w);
  const Padding& p = d.padding;
  if (p != Padding{})
    name += "_pad" + std::to_string(p.left) + std::to_string(p.right) + std::to_string(p.top) +
            std::to_string(p.bottom);
  if (d.ceil_mode) name += "_ceil";
  if (d.count_padding) name += "_counted";
  return name + variant.suffix();
}

PoolDesc with_ceil_mode(PoolDesc desc) {
  desc.ceil_mode = true;
  return desc;
}

std::vector<PoolCase> pools() {
  const PoolDesc halve;
  const PoolDesc resnet{
      .kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2, .padding = Padding::all(1)};
  const PoolDesc tf{
      .kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2, .padding = {0, 1, 0, 1}};
  const PoolDesc overlap{
      .kernel_h = 3, .kernel_w = 2, .stride_h = 1, .stride_w = 1, .padding = {1, 0, 2, 1}};
  const PoolDesc bare{.kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2};
  const PoolDesc sparse{.kernel_h = 2, .kernel_w = 2, .stride_h = 3, .stride_w = 4};
  const PoolDesc wide{
      .kernel_h = 5, .kernel_w = 5, .stride_h = 1, .stride_w = 1, .padding = Padding::all(2)};
  return {{{1, 2, 2, 1}, halve},
          {{2, 5, 9, 3}, halve},
          {{1, 16, 32, 32}, halve},
          {{2, 17, 23, 64}, halve},
          {{1, 16, 32, 8}, resnet},
          {{3, 17, 23, 5}, resnet},
          {{1, 1, 7, 11}, resnet},
          {{1, 1, 1, 8}, resnet},
          {{2, 16, 32, 12}, tf},
          {{2, 5, 9, 31}, overlap},
          {{1, 17, 23, 8}, sparse},
          {{1, 5, 9, 33}, wide},
          {{1, 6, 1023, 8}, halve},
          {{1, 5, 2047, 3}, resnet},
          {{2, 16, 32, 16}, halve, Layout::slices},
          {{1, 17, 23, 8}, resnet, Layout::slices},
          {{2, 5, 9, 19}, halve, Layout::ragged_slices},
          {{1, 17, 23, 8}, tf, Layout::ragged_slices},
          // A last window beyond the image: on no axis, one, both; and one that is dropped.
          {{1, 4, 8, 8}, with_ceil_mode(halve)},
          {{2, 5, 9, 3}, with_ceil_mode(halve)},
          {{1, 1, 1, 8}, with_ceil_mode(halve)},
          {{1, 16, 32, 12}, with_ceil_mode(bare)},
          {{2, 17, 23, 19}, with_ceil_mode(resnet)},
          {{1, 16, 24, 8}, with_ceil_mode(resnet)},
          {{1, 4, 10, 5}, with_ceil_mode(tf)},
          {{1, 7, 9, 8}, with_ceil_mode(overlap)},
          {{1, 18, 24, 8}, with_ceil_mode(sparse)},
          {{2, 5, 9, 8}, with_ceil_mode(halve), Layout::slices},
          {{1, 16, 24, 11}, with_ceil_mode(resnet), Layout::ragged_slices}};
}

/// Averages by the rule that counts padding, with and without windows beyond it.
std::vector<PoolCase> counted_pools() {
  std::vector<PoolCase> counted;
  for (PoolCase p : pools()) {
    if (p.desc.padding == Padding{} && !p.desc.ceil_mode) continue;  // there is nothing to count
    p.desc.count_padding = true;
    counted.push_back(p);
  }
  return counted;
}

/// Grids that divide the image, that do not, and that are finer than it.
std::vector<PoolCase> grids() {
  const auto grid = [](int rows, int columns) {
    return PoolDesc{.grid_h = rows, .grid_w = columns};
  };
  return {{{1, 1, 1, 1}, grid(1, 1)},
          {{2, 16, 32, 8}, grid(4, 8)},
          {{1, 17, 23, 5}, grid(6, 6)},
          {{2, 5, 9, 12}, grid(8, 14)},
          {{1, 4, 7, 11}, grid(2, 3)},
          {{1, 3, 2047, 8}, grid(2, 5)},
          {{1, 17, 23, 8}, grid(3, 4), Layout::slices},
          {{2, 5, 9, 11}, grid(2, 4), Layout::ragged_slices}};
}

/// A NaN in every seventh pixel and column, so that no window sees two.
Fill lonely_nans(Shape shape) {
  return [shape](std::span<double> values, std::mt19937& random) {
    integers(-3, 3)(values, random);
    for (size_t i = 0; i < values.size(); ++i) {
      const auto pixel = static_cast<int>(i) / shape.c;
      if (pixel % shape.w % 7 == 3 && pixel / shape.w % shape.h % 7 == 3) values[i] = std::nan("");
    }
  };
}

OpCase max_pool_filled(Shape shape, DType dtype, const PoolDesc& desc, const std::string& name,
                       Fill fill) {
  OpCase op = max_pool(shape, dtype, desc);
  op.name += name;
  op.operands[0].fill = std::move(fill);
  return op;
}

/// Inference needs no index.
OpCase max_pool_without_index(DType dtype) {
  OpCase op = max_pool({2, 5, 9, 12}, dtype, {});
  op.name += "_without_index";
  std::erase_if(op.operands, [](const Operand& o) { return o.name == "index"; });
  return op;
}

Operand gradient_target(const char* name, Shape shape, DType dtype, Variant variant) {
  return laid_out(
      variant.accumulate ? update(name, shape, dtype, normal()) : output(name, shape, dtype),
      variant.layout, 1);
}

}  // namespace

OpCase max_pool(Shape shape, DType dtype, const PoolDesc& desc, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.pool->max(desc, a("x"), a("y"), a.optional("index"));
    };
    return op;
  };
  const Shape out = desc.output(shape);
  return OpCase{.op = "max_pool",
                .name = name_of_case(shape, desc, variant),
                .dtype = dtype,
                .operands = {laid_out(input("x", shape, dtype, distinct()), variant.layout, 0),
                             laid_out(output("y", out, dtype), variant.layout, 1).exact(),
                             output("index", out, DType::u8)},
                .prepare = prepare,
                .forward = nullptr};
}

OpCase max_pool_backward(Shape shape, DType dtype, const PoolDesc& desc, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.pool->max_backward(desc, a("dy"), a("index"), a("dx"), variant.accumulate);
    };
    return op;
  };
  const Shape out = desc.output(shape);
  return OpCase{.op = "max_pool_backward",
                .name = name_of_case(shape, desc, variant),
                .dtype = dtype,
                .operands = {laid_out(input("dy", out, dtype, normal()), variant.layout, 0),
                             input("index", out, DType::u8, integers(0, 0)),
                             gradient_target("dx", shape, dtype, variant)},
                .prepare = prepare,
                .forward = std::make_shared<OpCase>(max_pool(shape, dtype, desc))};
}

OpCase average_pool(Shape shape, DType dtype, const PoolDesc& desc, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) { ops.pool->average(desc, a("x"), a("y")); };
    return op;
  };
  return OpCase{.op = "average_pool",
                .name = name_of_case(shape, desc, variant),
                .dtype = dtype,
                .operands = {laid_out(input("x", shape, dtype, normal()), variant.layout, 0),
                             laid_out(output("y", desc.output(shape), dtype), variant.layout, 1)},
                .prepare = prepare,
                .forward = nullptr};
}

OpCase average_pool_backward(Shape shape, DType dtype, const PoolDesc& desc, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.pool->average_backward(desc, a("dy"), a("dx"), variant.accumulate);
    };
    return op;
  };
  return OpCase{
      .op = "average_pool_backward",
      .name = name_of_case(shape, desc, variant),
      .dtype = dtype,
      .operands = {laid_out(input("dy", desc.output(shape), dtype, normal()), variant.layout, 0),
                   gradient_target("dx", shape, dtype, variant)},
      .prepare = prepare,
      .forward = std::make_shared<OpCase>(average_pool(shape, dtype, desc))};
}

std::vector<OpCase> pool_cases() {
  std::vector<OpCase> cases;
  for (const DType dtype : kFloatTypes) {
    for (const PoolCase& p : pools()) {
      const Variant variant{.layout = p.layout};
      const Variant adding{.layout = p.layout, .accumulate = true};
      cases.push_back(max_pool(p.input, dtype, p.desc, variant));
      cases.push_back(max_pool_backward(p.input, dtype, p.desc, variant));
      cases.push_back(max_pool_backward(p.input, dtype, p.desc, adding));
      cases.push_back(average_pool(p.input, dtype, p.desc, variant));
      cases.push_back(average_pool_backward(p.input, dtype, p.desc, variant));
      cases.push_back(average_pool_backward(p.input, dtype, p.desc, adding));
    }
    for (const std::vector<PoolCase>& averages : {counted_pools(), grids()}) {
      for (const PoolCase& p : averages) {
        const Variant variant{.layout = p.layout};
        const Variant adding{.layout = p.layout, .accumulate = true};
        cases.push_back(average_pool(p.input, dtype, p.desc, variant));
        cases.push_back(average_pool_backward(p.input, dtype, p.desc, variant));
        cases.push_back(average_pool_backward(p.input, dtype, p.desc, adding));
      }
    }
    const PoolDesc overlap{
        .kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2, .padding = Padding::all(1)};
    for (const Shape shape : {Shape{1, 17, 23, 5}, Shape{2, 16, 32, 8}}) {
      cases.push_back(max_pool_filled(shape, dtype, overlap, "_ties", integers(-1, 1)));
      cases.push_back(max_pool_filled(shape, dtype, overlap, "_nans", lonely_nans(shape)));
      cases.push_back(max_pool_filled(shape, dtype, overlap, "_negative", uniform(-9, -1)));
      cases.push_back(max_pool_filled(shape, dtype, overlap, "_infinite", values({-INFINITY})));
    }
    cases.push_back(max_pool_without_index(dtype));
  }
  return cases;
}

}  // namespace macadam::testing
