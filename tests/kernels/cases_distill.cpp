#include <limits>

#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

constexpr double kSlack = 8;        // exponentials, and sums over all pixels, in fp32
constexpr double kValueSlack = 50;  // a difference of logarithms of such sums

/// Elements of one class are not a number.
Fill with_nan(Shape shape) {
  return [=](std::span<double> values, std::mt19937& random) {
    normal(0, 2)(values, random);
    values[values.size() / 2 / static_cast<size_t>(shape.c) * static_cast<size_t>(shape.c) + 1] =
        std::numeric_limits<double>::quiet_NaN();
  };
}

std::vector<DistillCase> distillations() {
  return {
      {.name = "one_class", .scores = {1, 1, 7, 1}},
      {.name = "few", .scores = {1, 1, 7, 3}},
      {.name = "images", .scores = {2, 5, 9, 8}},
      {.name = "odd", .scores = {3, 5, 9, 11}},
      {.name = "cold", .scores = {2, 3, 5, 4}, .weight = 1, .temperature = 1},
      {.name = "19_classes", .scores = {2, 17, 23, 19}},
      {.name = "33_classes", .scores = {1, 17, 23, 33}},
      {.name = "64_classes", .scores = {1, 16, 32, 64}},
      {.name = "wide", .scores = {1, 3, 1023, 19}},
      {.name = "many_pixels", .scores = {2, 67, 129, 8}},
      {.name = "extreme", .scores = {2, 17, 23, 5}, .temperature = 1, .deviation = 1000},
      {.name = "scaled", .scores = {2, 5, 9, 11}, .gradient_scale = 300},
      {.name = "padding", .scores = {3, 5, 9, 8}, .images = 2},
      {.name = "padding_alone", .scores = {2, 5, 9, 8}, .images = 0},
      {.name = "nan_of_student", .scores = {2, 5, 9, 8}, .student_nan = true},
      {.name = "nan_of_teacher", .scores = {2, 17, 23, 3}, .teacher_nan = true},
  };
}

}  // namespace

OpCase distill(const DistillCase& distill, DType dtype, Direction direction, Variant variant) {
  const auto prepare = [=](Ops& ops) {
    PreparedOp op;
    op.workspace_bytes = ops.distill->workspace_bytes(distill.scores);
    op.call = [=, &ops](const Arguments& a) {
      const DistillDesc desc{.weight = distill.weight,
                             .temperature = distill.temperature,
                             .images = a.pointer<uint64_t>("images"),
                             .gradient_scale = a.pointer<float>("gradient_scale")};
      // What is added to zero is a gradient.
      if (direction == Direction::gradient) ops.elementwise->fill(a("dstudent"), 0);
      ops.distill->run(desc, a("student"), a("teacher"), a.optional("dstudent"),
                       a.pointer<float>("value"), a.workspace());
    };
    return op;
  };
  const auto scores = [&](const char* name, bool nan, int salt) {
    Fill fill = nan ? with_nan(distill.scores) : normal(salt, distill.deviation);
    return laid_out(input(name, distill.scores, dtype, std::move(fill)), variant.layout, salt);
  };
  constexpr const char* kNames[] = {"distill_value", "distill_gradient", "distill"};
  OpCase op{.op = kNames[static_cast<size_t>(direction)],
            .name = distill.name + "_" + distill.scores.text() + variant.suffix(),
            .dtype = dtype,
            .operands = {output("value", {1, 1, 1, 1}, DType::f32).loose(kValueSlack),
                         scores("student", distill.student_nan, 0),
                         scores("teacher", distill.teacher_nan, 1)},
            .prepare = prepare,
            .forward = nullptr};
  if (distill.images >= 0) {
    op.operands.push_back(
        raw<uint64_t>("images", Role::input, {static_cast<uint64_t>(distill.images)}));
  }
  if (distill.gradient_scale != 1) {
    op.operands.push_back(input("gradient_scale", {1, 1, 1, 1}, DType::f32,
                                values({static_cast<double>(distill.gradient_scale)})));
  }
  if (direction == Direction::value) return op;
  Operand gradient = direction == Direction::gradient
                         ? output("dstudent", distill.scores, dtype)
                         : update("dstudent", distill.scores, dtype, normal(0, 0.01));
  gradient = laid_out(std::move(gradient), variant.layout, 2).loose(kSlack);
  gradient.keeps_spare = direction == Direction::added;
  op.operands.push_back(std::move(gradient));
  const bool finite = !distill.student_nan && !distill.teacher_nan;
  if (direction == Direction::gradient && distill.gradient_scale == 1 && finite) {
    op.forward = std::make_shared<OpCase>(testing::distill(distill, dtype, Direction::value, {}));
  }
  return op;
}

std::vector<OpCase> distill_cases() {
  std::vector<OpCase> cases;
  for (const DType dtype : kFloatTypes) {
    for (const DistillCase& one : distillations()) {
      for (const Direction direction : {Direction::value, Direction::gradient, Direction::added}) {
        cases.push_back(distill(one, dtype, direction));
      }
      if (one.scores.pixels() > 1000) continue;
      for (const Layout layout : {Layout::slices, Layout::ragged_slices, Layout::padded}) {
        cases.push_back(distill(one, dtype, Direction::value, {.layout = layout}));
        cases.push_back(distill(one, dtype, Direction::added, {.layout = layout}));
      }
    }
  }
  return cases;
}

}  // namespace macadam::testing
