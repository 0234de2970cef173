#include <limits>

#include "base/to_size.h"
#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

Shape flat_shape(const std::vector<ParameterSegment>& segments) {
  const ParameterSegment& last = segments.back();
  return {1, 1, 1, static_cast<int>(last.offset + last.count + 5)};
}

/// `counts` elements each, at multiples of 64, with varied learning rates and decay; one in three
/// is frozen.
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

/// The same, each of which has missed a number of the run's updates.
std::vector<ParameterSegment> thawed(std::vector<ParameterSegment> segments, uint64_t most) {
  for (size_t i = 0; i < segments.size(); ++i) segments[i].missed_updates = most - i % 2 * most / 2;
  return segments;
}

OpCase optim_case(std::string op, const OptimCase& optim, bool second_moment) {
  const Shape shape = flat_shape(optim.segments);
  const auto placed = [&](Operand operand, int salt) {
    return laid_out(std::move(operand), optim.layout, salt);
  };
  OpCase result{.op = std::move(op),
                .name = optim.name + suffix(optim.layout),
                .dtype = DType::f32,
                .operands = {placed(update("parameters", shape, DType::f32, normal()), 0),
                             placed(input("gradients", shape, DType::f32, normal()), 1),
                             placed(update("moment1", shape, DType::f32, normal()), 2),
                             raw<ParameterSegment>("segments", Role::input, optim.segments),
                             raw<StepState>("state", Role::input, {optim.state})},
                .prepare = nullptr,
                .forward = nullptr};
  std::vector<Operand>& operands = result.operands;
  if (second_moment)
    operands.push_back(placed(update("moment2", shape, DType::f32, uniform(0, 2)), 3));
  if (optim.average_decay > 0)
    operands.push_back(placed(update("averages", shape, DType::f32, normal()), 4));
  if (optim.gradient)
    operands.push_back(raw<GradientState>("gradient_state", Role::input, {*optim.gradient}));
  return result;
}

OptimBuffers buffers_of(const Arguments& a, float average_decay) {
  return {.parameters = a("parameters").as<float>(),
          .gradients = a("gradients").as<float>(),
          .moment1 = a("moment1").as<float>(),
          .moment2 = a.pointer<float>("moment2"),
          .averages = a.pointer<float>("averages"),
          .average_decay = average_decay};
}

/// The cases of one rule: make(case, with constants that differ from the defaults).
template <typename Make>
void add_updates(std::vector<OpCase>& cases, const std::vector<ParameterSegment>& segments,
                 const std::string& name, const Make& make) {
  const StepState state{.step = 3, .update = 10, .lr = 0.02f};
  OptimCase plain{.name = name, .segments = segments, .state = state, .gradient = {}};
  cases.push_back(make(plain, false));
  OptimCase first = plain;
  first.name += "_first_step";
  first.state.update = 0;
  cases.push_back(make(first, true));
  OptimCase summed = plain;
  summed.name += "_three_batches";
  summed.state.gradient_factor = 1.0f / 3;
  cases.push_back(make(summed, true));
  OptimCase thaws = plain;
  thaws.name += "_thawed";
  thaws.segments = thawed(segments, state.update);
  cases.push_back(make(thaws, false));
  OptimCase averaged = plain;
  averaged.name += "_averages";
  averaged.average_decay = 0.999f;
  averaged.state.update = 100'000;
  cases.push_back(make(averaged, false));
  averaged.layout = Layout::ragged_slices;
  cases.push_back(make(averaged, false));
  averaged.layout = Layout::slices;
  averaged.name += "_warm_up";
  averaged.state.update = 0;
  cases.push_back(make(averaged, true));
  OptimCase everything = averaged;
  everything.name = name + "_everything";
  everything.segments = thawed(segments, 4);
  everything.state = state;
  everything.gradient = GradientState{.loss_scale = 1024, .skipped = 5, .factor = 0.01f};
  cases.push_back(make(everything, true));
  everything.name = name + "_skipped";
  everything.gradient->skip = 1;
  cases.push_back(make(everything, false));
}

Fill integers_and(float special, size_t at) {
  return [=, whole = integers(-4, 4)](std::span<double> values, std::mt19937& random) {
    whole(values, random);
    values[std::min(at, values.size() - 1)] = special;
  };
}

void add_examinations(std::vector<OpCase>& cases, const std::vector<ParameterSegment>& segments,
                      const std::string& name) {
  const auto add = [&](const std::string& what, const GradientState& gradient,
                       const ExamineDesc& desc, const Fill& fill, Layout layout = Layout::dense,
                       float gradient_factor = 0.5f) {
    cases.push_back(examine({.name = name + what,
                             .segments = segments,
                             .state = {.gradient_factor = gradient_factor},
                             .gradient = gradient,
                             .layout = layout},
                            desc, fill));
  };
  const Fill whole = integers(-4, 4);
  const ExamineDesc both{.clip_norm = 1, .loss_scaling = true};
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const GradientState scaled{.loss_scale = 4, .good_steps = 7, .skipped = 2};
  add("_clip", {}, {.clip_norm = 0.25f}, whole);
  add("_clip_nothing", {}, {.clip_norm = 1e6f}, whole);
  add("_zero", {}, {.clip_norm = 1}, values({0}));
  add("_clip_infinity", {}, {.clip_norm = 1}, integers_and(infinity, 0));
  add("_scaled", scaled, {.loss_scaling = true}, whole);
  add("_both", scaled, both, whole);
  add("_both", scaled, both, whole, Layout::ragged_slices);
  add("_both", scaled, both, whole, Layout::slices);
  add("_infinity", scaled, both, integers_and(-infinity, 0));
  add("_nan", scaled, {.loss_scaling = true}, integers_and(nan, 0));
  GradientState grows = scaled;
  grows.good_steps = GradScaler::kGrowthInterval - 1;
  add("_grows", grows, both, whole);
  grows.loss_scale = 0x1p127f;
  add("_grows_no_further", grows, {.loss_scaling = true}, whole, Layout::dense, 0x1p126f);
  if (segments.size() < 3) return;
  const auto frozen = to_size(segments[2].offset);
  add("_frozen_nan", scaled, both, integers_and(nan, frozen));
  const ParameterSegment& last_trained = segments[segments.size() - 3];
  const auto end = to_size(last_trained.offset + last_trained.count);
  add("_gap_nan", scaled, both, integers_and(nan, end));
  add("_last_infinity", scaled, both, integers_and(infinity, end - 1));
}

}  // namespace

OpCase sgd(const OptimCase& optim, const SgdDesc& desc) {
  OpCase result = optim_case("sgd", optim, false);
  result.prepare = [desc, count = optim.segments.size(), decay = optim.average_decay](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.optim->sgd(desc, buffers_of(a, decay), {a.pointer<ParameterSegment>("segments"), count},
                     a.pointer<StepState>("state"), a.pointer<GradientState>("gradient_state"));
    };
    return op;
  };
  return result;
}

OpCase adamw(const OptimCase& optim, const AdamWDesc& desc) {
  OpCase result = optim_case("adamw", optim, true);
  result.prepare = [desc, count = optim.segments.size(), decay = optim.average_decay](Ops& ops) {
    PreparedOp op;
    op.call = [=, &ops](const Arguments& a) {
      ops.optim->adamw(desc, buffers_of(a, decay), {a.pointer<ParameterSegment>("segments"), count},
                       a.pointer<StepState>("state"), a.pointer<GradientState>("gradient_state"));
    };
    return op;
  };
  return result;
}

OpCase examine(const OptimCase& optim, const ExamineDesc& desc, const Fill& gradients) {
  const Shape shape = flat_shape(optim.segments);
  const auto prepare = [desc, count = optim.segments.size(),
                        elements = shape.elements()](Ops& ops) {
    PreparedOp op;
    op.workspace_bytes = ops.optim->workspace_bytes(elements);
    op.call = [=, &ops](const Arguments& a) {
      ops.optim->examine(
          desc, a("gradients").as<float>(), {a.pointer<ParameterSegment>("segments"), count},
          a.pointer<StepState>("state"), a.pointer<GradientState>("gradient_state"), a.workspace());
    };
    return op;
  };
  return OpCase{
      .op = "examine",
      .name = optim.name + suffix(optim.layout),
      .dtype = DType::f32,
      .operands = {laid_out(input("gradients", shape, DType::f32, gradients), optim.layout, 0),
                   raw<ParameterSegment>("segments", Role::input, optim.segments),
                   raw<StepState>("state", Role::input, {optim.state}),
                   raw<GradientState>("gradient_state", Role::update, {*optim.gradient})},
      .prepare = prepare,
      .forward = nullptr};
}

std::vector<OpCase> optim_cases() {
  std::vector<OpCase> cases;
  const std::pair<std::string, std::vector<int>> layouts[] = {
      {"one_element", {1}},
      {"small", {1, 3, 64, 65, 8, 19, 33}},
      {"large", {1000, 5, 4097, 64, 2048, 127, 9000}}};
  for (const auto& [name, counts] : layouts) {
    const std::vector<ParameterSegment> segments = segments_of(counts);
    add_updates(cases, segments, name, [](const OptimCase& optim, bool other) {
      return sgd(optim, {.momentum = other ? 0.5f : 0.9f, .nesterov = other});
    });
    const OptimCase plain{
        .name = name + "_no_momentum", .segments = segments, .state = {.lr = 0.1f}, .gradient = {}};
    cases.push_back(sgd(plain, {.momentum = 0}));
    add_updates(cases, segments, name, [](const OptimCase& optim, bool other) {
      return adamw(optim,
                   other ? AdamWDesc{.beta1 = 0.5f, .beta2 = 0.9f, .eps = 1e-3f} : AdamWDesc{});
    });
    add_examinations(cases, segments, name);
  }
  return cases;
}

}  // namespace macadam::testing
