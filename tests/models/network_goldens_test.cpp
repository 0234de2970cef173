// Every network against PyTorch in double precision (tests/golden/make_network_goldens.py): logits
// at two sizes, and the gradients of some networks. On the CPU, and on a CUDA device.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/plan/plan.h"
#include "models/network.h"
#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/on_device.h"
#include "tests/models/rule_weights.h"
#include "tests/paths.h"

using namespace macadam;
using macadam::testing::CudaTest;
using macadam::testing::on_device;
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
  for (const auto& file : fs::directory_iterator(source_path("tests/golden/networks"))) {
    const std::string name = file.path().stem().string();
    if (name.ends_with("_gradients") == gradients) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Json golden(const std::string& name) {
  return read_json(source_path("tests/golden/networks/" + name + ".json"));
}

NetworkSpec spec_of(const Json& json, const std::map<std::string, std::string>& more = {}) {
  NetworkSpec spec{json["network"], json["classes"], more};
  for (const auto& [key, value] : json.at("options").items()) {
    spec.options[key] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return spec;
}

void set_input(DeviceContext& place, const Plan& plan) {
  macadam::testing::upload(place, macadam::testing::rule_image(plan.input().shape), plan.input());
}

/// Of a case's samples, relative to its largest score.
struct ScoreError {
  double worst = 0, rms = 0;
};

ScoreError score_error(DeviceContext& place, const Json& network, const Json& one, DType dtype) {
  const Shape input{one["batch"], one["height"], one["width"], 3};
  const Graph graph = build_network(spec_of(network), input);
  Parameters parameters(graph.parameters(), place.stream, false);
  macadam::testing::set_rule_values(parameters, network.value("weight_gain", 1.0));
  PlanOptions options;
  options.dtype = dtype;
  Plan plan(graph, parameters, place, options);
  plan.pack_weights();
  set_input(place, plan);
  plan.forward();
  const std::vector<float> found = macadam::testing::download(place, plan.output());
  double worst = 0, squares = 0;
  for (size_t k = 0; k < one["samples"].size(); ++k) {
    const double got = found[rule_bits("samples", k) % found.size()];
    const double difference = std::abs(got - one["samples"][k].get<double>());
    if (!(difference <= worst)) worst = difference;  // NaN is the worst
    squares += difference * difference;
  }
  const auto scale = one["max_abs"].get<double>();
  const auto count = static_cast<double>(one["samples"].size());
  const ScoreError error{worst / scale, std::sqrt(squares / count) / scale};
  std::printf("%s %sx%s on %s: %.2e, rms %.2e\n",
              ::testing::UnitTest::GetInstance()->current_test_info()->name(),
              one["height"].dump().c_str(), one["width"].dump().c_str(),
              place.stream.device().name().c_str(), error.worst, error.rms);
  return error;
}

/// The largest of some hundred differences is one value's luck: ResNet34's is 1.4e-2 with AVX-512
/// and 2.4e-2 with AMX, at an rms of 4.4e-3 and 4.7e-3.
void expect_bf16(const ScoreError& error) {
  EXPECT_LT(error.rms, 7e-3);
  EXPECT_LT(error.worst, 3e-2);
}

class NetworkGoldens : public ::testing::TestWithParam<std::string> {
 protected:
  NetworkGoldens() : place_(on_device(Device{})), golden_(golden(GetParam())) {}

  std::shared_ptr<DeviceContext> place_;
  Json golden_;
};

TEST_P(NetworkGoldens, ScoresInFp32) {
  for (const Json& one : golden_["cases"]) {
    EXPECT_LT(score_error(*place_, golden_, one, DType::f32).worst, 1e-5)
        << one["height"] << "x" << one["width"];
  }
}

TEST_P(NetworkGoldens, ScoresInBf16) {
  if (!cpu_has_bf16()) GTEST_SKIP() << "no bf16 on this processor";
  expect_bf16(score_error(*place_, golden_, golden_["cases"].front(), DType::bf16));
}

TEST_P(NetworkGoldens, CountsWhatPyTorchCounts) {
  const Json& one = golden_["cases"][0];
  const Graph graph = build_network(spec_of(golden_), {1, one["height"], one["width"], 3});
  EXPECT_EQ(graph.parameter_count(), golden_["parameters"].get<int64_t>());
}

INSTANTIATE_TEST_SUITE_P(Networks, NetworkGoldens, ::testing::ValuesIn(goldens(false)),
                         [](const auto& tested) { return tested.param; });

// Each size once: most of the time goes into choosing kernels. cuDNN may sum in another order, but
// not in TF32, whose errors are some 1e-4.
class CudaNetworkGoldens : public CudaTest, public ::testing::WithParamInterface<std::string> {
 protected:
  CudaNetworkGoldens() : golden_(golden(GetParam())) {}

  Json golden_;
};

TEST_P(CudaNetworkGoldens, ScoresInFp32) {
  EXPECT_LT(score_error(*cuda_, golden_, golden_["cases"].back(), DType::f32).worst, 5e-5);
}

TEST_P(CudaNetworkGoldens, ScoresInBf16) {
  expect_bf16(score_error(*cuda_, golden_, golden_["cases"].front(), DType::bf16));
}

INSTANTIATE_TEST_SUITE_P(Networks, CudaNetworkGoldens, ::testing::ValuesIn(goldens(false)),
                         [](const auto& tested) { return tested.param; });

/// In training mode, with batch statistics: each parameter's gradient by its norm and some samples.
void expect_gradients_of_pytorch(DeviceContext& place, const std::string& name) {
  const Json json = golden(name);
  Stream& stream = place.stream;
  const Shape input{json["batch"], json["height"], json["width"], 3};
  const Graph graph = build_network(spec_of(json), input);
  Parameters parameters(graph.parameters(), stream, true);
  macadam::testing::set_rule_values(parameters, json.value("weight_gain", 1.0),
                                    json.value("norm_shift", 0.0));
  PlanOptions options;
  options.mode = Mode::train;
  options.loss = LossDesc{};
  // Of the plan, in the device's memory.
  const Buffer state(stream.device(), sizeof(StepState));
  std::vector<LossValues> loss(1 + graph.auxiliary_outputs().size());
  const Buffer losses(stream.device(), loss.size() * sizeof(LossValues));
  zero_bytes(stream, state.data(), state.bytes());
  options.state = reinterpret_cast<const StepState*>(state.data());
  Plan plan(graph, parameters, place, options);
  plan.pack_weights();
  set_input(place, plan);
  const std::vector<uint8_t> labels = macadam::testing::rule_labels(input.pixels());
  copy_bytes(stream, plan.labels().data, labels.data(), labels.size());
  plan.forward();
  plan.loss(Tensor(), reinterpret_cast<LossValues*>(losses.data()));
  plan.backward();
  copy_bytes(stream, loss.data(), losses.data(), losses.bytes());
  stream.synchronize();
  double total = 0;
  for (const LossValues& values : loss) total += static_cast<double>(values.total);
  EXPECT_NEAR(total, json["loss"].get<double>(), 1e-5 * json["loss"].get<double>());

  // Errors in units of a parameter's typical gradient. They are those of fp32 itself, where a ReLU
  // or a pooling decides otherwise than in double, and vary tenfold with the order of a kernel's
  // sums: the golden has the largest of PyTorch's own among runs that differ by rounding.
  double squared_errors = 0, worst_norm = 0, largest_norm = 0;
  size_t samples = 0, compared = 0;
  for (const auto& [parameter, expected] : json["gradients"].items()) {
    largest_norm = std::max(largest_norm, expected["norm"].get<double>());
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ParameterSpec& p = parameters.specs()[i];
    if (!p.trainable()) continue;
    ASSERT_TRUE(json["gradients"].contains(p.name)) << p.name;
    const Json& expected = json["gradients"][p.name];
    const std::vector<float> found = parameters.read(i, Parameters::Field::gradient);
    double squares = 0;
    for (float v : found) squares += static_cast<double>(v) * v;
    const double norm = expected["norm"].get<double>();
    ++compared;
    if (norm == 0) {  // normalised away, but for rounding
      EXPECT_LT(std::sqrt(squares), 1e-5 * largest_norm) << p.name;
      continue;
    }
    const double typical = norm / std::sqrt(static_cast<double>(found.size()));
    worst_norm = std::max(worst_norm, std::abs(std::sqrt(squares) - norm) / norm);
    for (size_t k = 0; k < expected["samples"].size(); ++k, ++samples) {
      const double got = found[rule_bits("gradient:" + p.name, k) % found.size()];
      const double e = (got - expected["samples"][k].get<double>()) / typical;
      EXPECT_LT(std::abs(e), 0.5) << p.name;
      squared_errors += e * e;
    }
  }
  const double rms = std::sqrt(squared_errors / static_cast<double>(samples));
  const double fp32_rms = json["fp32_rms"].get<double>();
  EXPECT_EQ(compared, json["gradients"].size());
  EXPECT_LT(rms, 2 * fp32_rms);
  EXPECT_LT(worst_norm, std::max(3e-2, 2 * fp32_rms));
  std::printf(
      "%s: loss %.7f, error of sampled gradients %.2e rms (PyTorch fp32 up to %.2e), of norms "
      "at most %.2e\n",
      name.c_str(), total, rms, fp32_rms, worst_norm);
}

class GradientGoldens : public ::testing::TestWithParam<std::string> {};

TEST_P(GradientGoldens, AreThoseOfPyTorch) {
  expect_gradients_of_pytorch(*on_device(Device{}), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Networks, GradientGoldens, ::testing::ValuesIn(goldens(true)),
                         [](const auto& tested) { return tested.param; });

class CudaGradientGoldens : public CudaTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(CudaGradientGoldens, AreThoseOfPyTorch) { expect_gradients_of_pytorch(*cuda_, GetParam()); }

INSTANTIATE_TEST_SUITE_P(Networks, CudaGradientGoldens, ::testing::ValuesIn(goldens(true)),
                         [](const auto& tested) { return tested.param; });

}  // namespace
