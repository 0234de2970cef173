#pragma once
// A plan on the CPU with parameters, a batch and a step state of its own.

#include <cstring>
#include <vector>

#include "base/to_size.h"
#include "engine/plan/plan.h"
#include "kernels/reference/reference_ops.h"
#include "tests/engine/hashed.h"

namespace macadam::testing {

/// What a batch shows: hashed numbers in +-1, and labels below `classes` or 255.
inline void fill_batch(const Tensor& images, const Tensor& labels, uint32_t seed, int classes) {
  auto* x = images.as<float>();
  for (uint32_t i = 0; i < static_cast<uint32_t>(images.shape.elements()); ++i) {
    x[i] = hashed_uniform(seed, i, 1.0f);
  }
  auto* label = labels.as<uint8_t>();
  for (uint32_t i = 0; i < static_cast<uint32_t>(labels.shape.elements()); ++i) {
    const auto drawn = hashed(seed + 1, i) % static_cast<uint32_t>(classes + 1);
    label[i] = drawn == static_cast<uint32_t>(classes) ? uint8_t{255} : static_cast<uint8_t>(drawn);
  }
}

class PlanRunner {
 public:
  PlanRunner(const Graph& graph, Ops ops, PlanOptions options)
      : parameters_(graph.parameters(), context_.stream, options.mode == Mode::train),
        options_(with_state(options, &state_)),
        plan_(graph, parameters_, with_ops(std::move(ops)), options_) {
    set_hashed_values(parameters_);
    plan_.pack_weights();
  }

  /// Puts batch `seed` in place and runs: forward, loss and, in training, backward at `step`.
  LossValues run(uint32_t seed, uint64_t step) {
    put(seed);
    return step_on(step);
  }
  /// Puts batch `seed` into an input of the plan.
  void put(uint32_t seed, int input = 0) {
    const Shape shape = plan_.input().shape;
    std::vector<float> images(to_size(shape.elements()));
    const Tensor host(images.data(), shape, DType::f32);
    fill_batch(host, plan_.labels(input), seed, plan_.output().shape.c);
    context_.ops.elementwise->copy(host, plan_.input(input), false);
  }
  /// Forward, loss and, in training, backward on the input in use.
  LossValues step_on(uint64_t step) {
    state_.step = step;
    plan_.forward();
    std::vector<LossValues> values(to_size(plan_.outputs()));
    plan_.loss({}, values.data());
    if (options_.mode == Mode::train) plan_.backward();
    for (size_t i = 1; i < values.size(); ++i) values[0].total += values[i].total;
    return values[0];
  }
  /// The loss alone, of the values that the parameters have now.
  double loss_of(uint32_t seed, uint64_t step) {
    plan_.pack_weights();
    return static_cast<double>(run(seed, step).total);
  }

  Parameters& parameters() { return parameters_; }
  Plan& plan() { return plan_; }

 private:
  DeviceContext& with_ops(Ops ops) {
    context_.ops = std::move(ops);
    return context_;
  }
  static PlanOptions with_state(PlanOptions options, const StepState* state) {
    if (options.mode == Mode::train) options.state = state;
    return options;
  }

  DeviceContext context_;
  Parameters parameters_;
  StepState state_;
  PlanOptions options_;
  Plan plan_;
};

/// Of a plan on the CPU, densely.
inline std::vector<float> scores_of(const Plan& plan) {
  const Tensor& y = plan.output();
  std::vector<float> dense(to_size(y.shape.elements()));
  make_reference_ops().elementwise->copy(y, Tensor(dense.data(), y.shape, DType::f32), false);
  return dense;
}

inline double norm(const std::vector<float>& a) {
  double sum = 0;
  for (float v : a) sum += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(sum);
}

/// |a - b| in the Euclidean norm. Requires equal sizes.
inline double distance(std::vector<float> a, const std::vector<float>& b) {
  require(a.size() == b.size(), "as many values");
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return norm(a);
}

}  // namespace macadam::testing
