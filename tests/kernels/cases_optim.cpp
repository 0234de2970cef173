#include <cmath>

#include "tests/kernels/op_cases.h"

namespace macadam::testbed {
namespace {

Shape flat_shape(const std::vector<ParameterSegment>& segments) {
  const ParameterSegment& last = segments.back();
  return {1, 1, 1, static_cast<int>(last.offset + last.count + 5)};
}

/// `counts` elements each, at multiples of 64, with varied learning rates and decay.
std::vector<ParameterSegment> segments_of(const std::vector<int>& counts) {
  std::vector<ParameterSegment> segments;
  int64_t offset = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    segments.push_back({.offset = offset,
                        .count = counts[i],
                        .lr_scale = i % 3 == 2 ? 0.0f : 1.0f / static_cast<float>(1 + i),
                        .weight_decay = i % 2 == 0 ? 0.05f : 0.0f});
    offset += (counts[i] + 63) / 64 * 64 + (i % 4 == 3 ? 64 : 0);
  }
  return segments;
}

OpCase optim_case(std::string op, std::string name, const std::vector<ParameterSegment>& segments,
                  const StepState& state, std::function<PreparedOp(Ops&)> prepare) {
  const Shape shape = flat_shape(segments);
  return OpCase{.op = std::move(op),
                .name = std::move(name),
                .dtype = DType::f32,
                .operands = {update("parameters", shape, DType::f32, normal()),
                             input("gradients", shape, DType::f32, normal()),
                             update("moment1", shape, DType::f32, normal()),
                             raw<ParameterSegment>("segments", Role::input, segments),
                             raw<StepState>("state", Role::input, {state})},
                .prepare = std::move(prepare),
                .forward = nullptr};
}

OptimBuffers buffers_of(const Arguments& a) {
  return {.parameters = a("parameters").as<float>(),
          .gradients = a("gradients").as<float>(),
          .moment1 = a("moment1").as<float>(),
          .moment2 = a.pointer<float>("moment2")};
}

}  // namespace

OpCase sgd(const std::vector<ParameterSegment>& segments, const SgdDesc& desc, std::string name) {
  const auto prepare = [desc, count = segments.size()](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.optim->sgd(desc, buffers_of(a), {a.pointer<ParameterSegment>("segments"), count},
                     a.pointer<StepState>("state"));
    };
    return op;
  };
  return optim_case("sgd", std::move(name), segments, {.step = 3, .lr = 0.1f}, prepare);
}

OpCase adamw(const std::vector<ParameterSegment>& segments, const AdamWDesc& desc, uint64_t step,
             std::string name) {
  const auto prepare = [desc, count = segments.size()](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.optim->adamw(desc, buffers_of(a), {a.pointer<ParameterSegment>("segments"), count},
                       a.pointer<StepState>("state"));
    };
    return op;
  };
  const auto correction = [step](float beta) {
    return static_cast<float>(1 - std::pow(double{beta}, static_cast<double>(step + 1)));
  };
  OpCase op = optim_case("adamw", std::move(name), segments,
                         {.step = step,
                          .lr = 0.01f,
                          .bias_correction1 = correction(desc.beta1),
                          .bias_correction2 = correction(desc.beta2)},
                         prepare);
  op.operands.push_back(update("moment2", flat_shape(segments), DType::f32, uniform(0, 2)));
  return op;
}

std::vector<OpCase> optim_cases() {
  std::vector<OpCase> cases;
  const std::pair<std::string, std::vector<int>> layouts[] = {
      {"one_element", {1}},
      {"small", {1, 3, 64, 65, 8, 19, 33}},
      {"large", {1000, 5, 4097, 64, 2048, 127, 9000}}};
  for (const auto& [name, counts] : layouts) {
    const std::vector<ParameterSegment> segments = segments_of(counts);
    cases.push_back(sgd(segments, {}, name));
    cases.push_back(sgd(segments, {.momentum = 0.9f, .nesterov = true}, name + "_nesterov"));
    cases.push_back(sgd(segments, {.momentum = 0}, name + "_no_momentum"));
    cases.push_back(adamw(segments, {}, 0, name + "_first_step"));
    cases.push_back(
        adamw(segments, {.beta1 = 0.5f, .beta2 = 0.9f, .eps = 1e-3f}, 10, name + "_later"));
  }
  return cases;
}

}  // namespace macadam::testbed
