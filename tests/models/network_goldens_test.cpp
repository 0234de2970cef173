// Every network against PyTorch in double precision (tests/golden/make_network_goldens.py): logits
// at two sizes, and the gradients of two networks.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/plan.h"
#include "models/network.h"
#include "tests/models/rule_weights.h"

using namespace macadam;
using macadam::testing::rule_bits;

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

Json read_json(const fs::path& file) {
  std::ifstream stream(file);
  return Json::parse(stream);
}

/// Names of the golden files, those of gradients apart.
std::vector<std::string> goldens(bool gradients) {
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(MACADAM_SOURCE_DIR "/tests/golden/networks")) {
    const std::string name = file.path().stem().string();
    if (name.ends_with("_gradients") == gradients) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Json golden(const std::string& name) {
  return read_json(MACADAM_SOURCE_DIR "/tests/golden/networks/" + name + ".json");
}

NetworkSpec spec_of(const Json& json, const std::map<std::string, std::string>& more = {}) {
  NetworkSpec spec{json["network"], json["classes"], more};
  for (const auto& [key, value] : json.at("options").items()) {
    spec.options[key] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return spec;
}

/// The class scores of a plan as fp32.
std::vector<float> scores(Ops& ops, const Plan& plan) {
  std::vector<float> values(static_cast<size_t>(plan.output().shape.elements()));
  ops.elementwise->copy(plan.output(), Tensor(values.data(), plan.output().shape, DType::f32),
                        false);
  return values;
}

void set_input(Ops& ops, const Plan& plan) {
  std::vector<float> image = macadam::testing::rule_image(plan.input().shape);
  ops.elementwise->copy(Tensor(image.data(), plan.input().shape, DType::f32), plan.input(), false);
}

class NetworkGoldens : public ::testing::TestWithParam<std::string> {
 protected:
  NetworkGoldens() : ops_(make_ops(stream_)), golden_(golden(GetParam())) {}

  /// Largest difference of a case's samples, relative to its largest score.
  double error(const Json& one, DType dtype) {
    const Shape input{one["batch"], one["height"], one["width"], 3};
    const Graph graph = build_network(spec_of(golden_), input);
    Parameters parameters(graph.parameters(), stream_, false);
    macadam::testing::set_rule_values(parameters, golden_.value("weight_gain", 1.0));
    PlanOptions options;
    options.dtype = dtype;
    Plan plan(graph, parameters, stream_, ops_, options);
    plan.pack_weights();
    set_input(ops_, plan);
    plan.forward();
    const std::vector<float> found = scores(ops_, plan);
    double worst = 0;
    for (size_t k = 0; k < one["samples"].size(); ++k) {
      const double got = found[rule_bits("samples", k) % found.size()];
      const double difference = std::abs(got - one["samples"][k].get<double>());
      if (!(difference <= worst)) worst = difference;  // NaN is the worst
    }
    return worst / one["max_abs"].get<double>();
  }

  Stream stream_;
  Ops ops_;
  Json golden_;
};

TEST_P(NetworkGoldens, ScoresInFp32) {
  for (const Json& one : golden_["cases"]) {
    const double e = error(one, DType::f32);
    std::printf("%s %sx%s fp32: %.2e\n", GetParam().c_str(), one["height"].dump().c_str(),
                one["width"].dump().c_str(), e);
    EXPECT_LT(e, 1e-5) << one["height"] << "x" << one["width"];
  }
}

TEST_P(NetworkGoldens, ScoresInBf16) {
  const Json& one = golden_["cases"][0];
  const double e = error(one, DType::bf16);
  std::printf("%s bf16: %.2e\n", GetParam().c_str(), e);
  EXPECT_LT(e, 2e-2);
}

TEST_P(NetworkGoldens, CountsWhatPyTorchCounts) {
  const Json& one = golden_["cases"][0];
  const Graph graph = build_network(spec_of(golden_), {1, one["height"], one["width"], 3});
  EXPECT_EQ(graph.parameter_count(), golden_["parameters"].get<int64_t>());
}

INSTANTIATE_TEST_SUITE_P(Networks, NetworkGoldens, ::testing::ValuesIn(goldens(false)),
                         [](const auto& tested) { return tested.param; });

class GradientGoldens : public ::testing::TestWithParam<std::string> {};

// In training mode, with batch statistics: each parameter's gradient by its norm and some samples.
TEST_P(GradientGoldens, AreThoseOfPyTorch) {
  const Json json = golden(GetParam());
  Stream stream;
  Ops ops = make_ops(stream);
  const Shape input{json["batch"], json["height"], json["width"], 3};
  const Graph graph = build_network(spec_of(json), input);
  Parameters parameters(graph.parameters(), stream, true);
  macadam::testing::set_rule_values(parameters, json.value("weight_gain", 1.0));
  PlanOptions options;
  options.mode = Mode::train;
  options.loss = LossDesc{};
  options.loss->dice_weight = 0;
  Plan plan(graph, parameters, stream, ops, options);
  plan.pack_weights();
  set_input(ops, plan);
  const std::vector<uint8_t> labels = macadam::testing::rule_labels(input.pixels());
  std::copy(labels.begin(), labels.end(), static_cast<uint8_t*>(plan.labels().data));
  LossValues loss{};
  plan.forward();
  plan.loss(Tensor(), &loss);
  plan.backward();
  EXPECT_NEAR(loss.total, json["loss"].get<double>(), 1e-5 * json["loss"].get<double>());

  // Errors in units of a parameter's typical gradient. They are those of fp32 itself, where a ReLU
  // or a pooling decides otherwise than in double: PyTorch's own are in the golden.
  double squared_errors = 0, worst_norm = 0;
  size_t samples = 0, compared = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ParameterSpec& p = parameters.specs()[i];
    if (!p.trainable()) continue;
    ASSERT_TRUE(json["gradients"].contains(p.name)) << p.name;
    const Json& expected = json["gradients"][p.name];
    const std::vector<float> found = parameters.read(i, Parameters::Field::gradient);
    double squares = 0;
    for (float v : found) squares += static_cast<double>(v) * v;
    const double norm = expected["norm"].get<double>();
    const double typical = norm / std::sqrt(static_cast<double>(found.size()));
    worst_norm = std::max(worst_norm, std::abs(std::sqrt(squares) - norm) / norm);
    for (size_t k = 0; k < expected["samples"].size(); ++k, ++samples) {
      const double got = found[rule_bits("gradient:" + p.name, k) % found.size()];
      const double e = (got - expected["samples"][k].get<double>()) / typical;
      EXPECT_LT(std::abs(e), 0.5) << p.name;
      squared_errors += e * e;
    }
    ++compared;
  }
  const double rms = std::sqrt(squared_errors / static_cast<double>(samples));
  const double fp32_rms = json["fp32_rms"].get<double>();
  EXPECT_EQ(compared, json["gradients"].size());
  EXPECT_LT(rms, 2 * fp32_rms);
  EXPECT_LT(worst_norm, 3e-2);
  std::printf(
      "%s: loss %.7f, error of sampled gradients %.2e rms (PyTorch fp32 %.2e), of norms at "
      "most %.2e\n",
      GetParam().c_str(), loss.total, rms, fp32_rms, worst_norm);
}

INSTANTIATE_TEST_SUITE_P(Networks, GradientGoldens, ::testing::ValuesIn(goldens(true)),
                         [](const auto& tested) { return tested.param; });

}  // namespace
