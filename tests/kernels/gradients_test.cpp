// The reference's gradients against finite differences of its own forward passes.

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/op_cases.h"
#include "tests/kernels/op_runner.h"

namespace macadam::testing {
namespace {

constexpr int64_t kLargest = 20000;  // elements of all operands: larger cases add only time
constexpr int kDirections = 3;
constexpr double kStep = 0x1p-5;

/// fp32 cases that write the gradient of at least one input of their forward pass.
std::vector<OpCase> differentiable_cases() {
  std::vector<OpCase> cases;
  std::vector<OpCase> all = all_op_cases();
  for (OpCase& op : all) {
    if (!op.forward || op.dtype != DType::f32 || op.forward->dtype != DType::f32) continue;
    int64_t elements = 0;
    bool writes_gradient = false, smooth = true;
    for (const Operand& operand : op.operands) {
      elements += operand.shape.elements();
      writes_gradient |= operand.role == Role::output && operand.name.starts_with('d');
      smooth &= operand.role != Role::update && operand.dtype != DType::bf16 &&
                operand.dtype != DType::f16;
    }
    // A batch norm with ReLU has kinks wherever a value is near zero, or near 3 with a hard
    // activation, a loss by the order of pixels where two are alike; one case keeps away.
    const bool kinks =
        op.name.find("_relu") != std::string::npos || op.name.starts_with("lovasz") ||
        op.name.starts_with("ohem") ||
        (op.op == "batch_norm_backward" && op.name.find("_hard") != std::string::npos);
    if (kinks && op.name.find("_separated") == std::string::npos) continue;
    if (op.name.find("extreme") != std::string::npos)
      continue;  // saturated: differences see only rounding
    if (writes_gradient && smooth && elements <= kLargest) cases.push_back(std::move(op));
  }
  return cases;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

double norm(const std::vector<double>& a) { return std::sqrt(dot(a, a)); }

/// Values on a grid so coarse that adding a step along a direction() is exact in fp32.
std::vector<double> on_grid(std::vector<double> values, double spacing) {
  for (double& v : values) v = std::round(v / spacing) * spacing;
  return values;
}

std::vector<double> direction(size_t size, std::mt19937& random) {
  std::uniform_real_distribution<double> distribution(-1, 1);
  std::vector<double> d(size);
  for (double& v : d) v = distribution(random);
  return on_grid(std::move(d), 0x1p-8);
}

struct Trial {
  OpCase backward;

  friend std::ostream& operator<<(std::ostream& out, const Trial& trial) {
    return out << trial.backward.full_name();
  }
};

std::vector<Trial> trials() {
  std::vector<Trial> all;
  std::vector<OpCase> cases = differentiable_cases();
  for (OpCase& op : cases) all.push_back({std::move(op)});
  return all;
}

std::string name_of_trial(const ::testing::TestParamInfo<Trial>& info) {
  return info.param.backward.full_name();
}

class Gradient : public ::testing::TestWithParam<Trial> {};

TEST_P(Gradient, MatchesFiniteDifferences) {
  const OpCase& backward = GetParam().backward;
  OpCase forward = *backward.forward;
  for (Operand& operand : forward.operands)
    if (operand.dtype == DType::f32 && operand.fill)
      operand.fill = [fill = operand.fill](std::span<double> values, std::mt19937& random) {
        fill(values, random);
        for (double& v : values) v = std::round(v * 0x1p12) * 0x1p-12;
      };
  OpCase gridded = backward;
  gridded.forward = std::make_shared<OpCase>(forward);

  const Values point = make_inputs(forward);
  const Values backward_inputs = make_inputs(gridded);
  const Values gradients = reference_results(gridded, backward_inputs);

  // The scalar that is differentiated: the outputs projected on their given gradients.
  const auto scalar = [&](const Values& inputs) {
    const Values outputs = reference_results(forward, inputs);
    double sum = 0;
    bool projected = false;
    for (const auto& [name, elements] : outputs) {
      const auto projection = backward_inputs.find("d" + name);
      if (projection == backward_inputs.end()) continue;
      sum += dot(elements, projection->second);
      projected = true;
    }
    return projected ? sum : outputs.at(forward.operands.front().name).front();
  };

  int checked = 0;
  std::mt19937 random(7);
  for (const auto& value : point) {
    const auto& [name, elements] = value;
    const auto gradient = gradients.find("d" + name);
    if (gradient == gradients.end()) continue;
    for (int trial = 0; trial < kDirections; ++trial) {
      const std::vector<double> d = direction(elements.size(), random);
      const auto at = [&](double t) {
        Values moved = point;
        for (size_t i = 0; i < d.size(); ++i) moved[value.first][i] += t * d[i];
        return scalar(moved);
      };
      // Fourth-order central difference.
      const double slope =
          (8 * (at(kStep) - at(-kStep)) - (at(2 * kStep) - at(-2 * kStep))) / (12 * kStep);
      const double typical =
          norm(gradient->second) * norm(d) / std::sqrt(static_cast<double>(d.size()));
      EXPECT_NEAR(slope, dot(gradient->second, d), 1e-3 * typical + 1e-5)
          << "gradient of " << name << ", direction " << trial;
      ++checked;
    }
  }
  EXPECT_GT(checked, 0) << "the case has no gradient of any input of its forward pass";
}

INSTANTIATE_TEST_SUITE_P(Reference, Gradient, ::testing::ValuesIn(trials()), name_of_trial);

}  // namespace
}  // namespace macadam::testing
