#include <cmath>
#include <limits>

#include "base/to_size.h"
#include "tests/kernels/op_cases.h"

namespace macadam::testing {

OpCase argmax(Shape scores, DType dtype, Variant variant, bool confident) {
  const auto prepare = [](Ops& ops) {
    PreparedOp op;
    op.call = [&ops](const Arguments& a) {
      ops.confusion->argmax(a("scores"), a("classes"), a.optional("confidence"));
    };
    return op;
  };
  const Shape mask{scores.n, scores.h, scores.w, 1};
  OpCase op{.op = confident ? "argmax_confidence" : "argmax",
            .name = scores.text() + variant.suffix(),
            .dtype = dtype,
            .operands = {laid_out(input("scores", scores, dtype, normal()), variant.layout, 0),
                         output("classes", mask, DType::u8)},
            .prepare = prepare,
            .forward = nullptr};
  if (confident) op.operands.push_back(output("confidence", mask, DType::u8).nearly());
  return op;
}

OpCase confusion_count(Shape shape, int classes) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.confusion->count(a("predictions"), a("labels"), classes, a.pointer<uint64_t>("counts"));
    };
    return op;
  };
  // Counts near 2^32, so that a carry into the upper half is seen.
  std::vector<uint64_t> before(to_size(classes) * to_size(classes));
  for (size_t i = 0; i < before.size(); ++i) before[i] = 0xfffffffeULL - i % 2;
  return OpCase{.op = "confusion_count",
                .name = shape.text() + "_" + std::to_string(classes) + "_classes",
                .dtype = DType::u8,
                .operands = {input("predictions", shape, DType::u8, labels(classes, classes)),
                             input("labels", shape, DType::u8, labels(classes, 255)),
                             raw<uint64_t>("counts", Role::update, std::move(before))},
                .prepare = prepare,
                .forward = nullptr};
}

namespace {

OpCase log_shares(Shape shape, const std::string& name, Fill fill) {
  const auto prepare = [](Ops& ops) {
    PreparedOp op;
    op.call = [&ops](const Arguments& a) { ops.confusion->log_shares(a("sums")); };
    return op;
  };
  return OpCase{.op = "log_shares",
                .name = shape.text() + name,
                .dtype = DType::f32,
                .operands = {update("sums", shape, DType::f32, std::move(fill))},
                .prepare = prepare,
                .forward = nullptr};
}

OpCase argmax_filled(Shape scores, DType dtype, const std::string& name, Fill fill,
                     bool confident) {
  OpCase op = argmax(scores, dtype, {}, confident);
  op.name += name;
  op.operands[0].fill = std::move(fill);
  return op;
}

/// NaN among finite scores.
Fill some_nans() {
  return [](std::span<double> values, std::mt19937& random) {
    integers(-2, 2)(values, random);
    for (double& v : values)
      if (random() % 4 == 0) v = std::numeric_limits<double>::quiet_NaN();
  };
}

}  // namespace

std::vector<OpCase> confusion_cases() {
  std::vector<OpCase> cases;
  for (const DType dtype : kFloatTypes) {
    for (const Shape shape :
         {Shape{1, 1, 1, 1}, Shape{1, 1, 7, 3}, Shape{2, 5, 9, 8}, Shape{3, 5, 9, 11},
          Shape{2, 17, 23, 19}, Shape{1, 16, 32, 64}, Shape{1, 5, 9, 33}, Shape{1, 5, 9, 255},
          Shape{1, 3, 1023, 19}, Shape{1, 3, 2047, 8}})
      for (const bool confident : {false, true})
        cases.push_back(argmax(shape, dtype, {}, confident));
    for (const Layout layout : {Layout::slices, Layout::ragged_slices, Layout::padded}) {
      cases.push_back(argmax({2, 17, 23, 19}, dtype, {.layout = layout}, true));
      cases.push_back(argmax({1, 5, 9, 5}, dtype, {.layout = layout}));
    }
    for (const Shape shape : {Shape{1, 5, 9, 8}, Shape{1, 5, 9, 19}, Shape{1, 5, 9, 33}}) {
      for (const bool confident : {false, true}) {
        const auto add = [&](const std::string& name, Fill fill) {
          cases.push_back(argmax_filled(shape, dtype, name, std::move(fill), confident));
        };
        add("_ties", integers(0, 2));
        add("_nans", some_nans());
        add("_all_nan", values({std::numeric_limits<double>::quiet_NaN()}));
        add("_infinities", values({-INFINITY, 1, -2, -INFINITY, 0, INFINITY, 3, -1, 2, 0, 1}));
        add("_far_apart", values({-4000, 80, -90, 79, 0, 82, -81, 12, 82.5}));
      }
    }
  }
  for (const Shape shape : {Shape{1, 1, 1, 1}, Shape{2, 5, 9, 8}, Shape{2, 17, 23, 19},
                            Shape{1, 5, 9, 33}, Shape{1, 5, 9, 255}, Shape{1, 3, 1023, 11}})
    cases.push_back(log_shares(shape, "", uniform(0, 700)));
  cases.push_back(log_shares({1, 5, 9, 3}, "_zeros", values({0, 0, 0, 0, 4, 0, 1e-38, 3e-38, 1})));
  for (const int classes : {1, 2, 8, 19, 64, 255})
    cases.push_back(confusion_count({2, 17, 23, 1}, classes));
  cases.push_back(confusion_count({1, 7, 2047, 1}, 19));
  cases.push_back(confusion_count({1, 1, 1, 1}, 8));
  cases.push_back(confusion_count({3, 16, 32, 1}, 11));
  return cases;
}

}  // namespace macadam::testing
