// Full-size weight files as torchvision, timm, segmentation_models.pytorch and Keras write them,
// made by `tests/golden/make_network_goldens.py --files DIR` where PyTorch is there; the tests run
// when MACADAM_WEIGHT_FILES names that folder.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/to_size.h"
#include "engine/plan/plan.h"
#include "models/weight_import.h"
#include "tests/models/rule_weights.h"
#include "tests/paths.h"

using namespace macadam;
using macadam::testing::rule_bits;

namespace {

struct Case {
  std::string file, network, scheme;
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.file; }

class WeightFiles : public ::testing::TestWithParam<Case> {};

TEST_P(WeightFiles, LoadByNameAndGiveTheGoldensScores) {
  const char* folder = std::getenv("MACADAM_WEIGHT_FILES");
  if (folder == nullptr) GTEST_SKIP() << "MACADAM_WEIGHT_FILES is not set";
  const Case& c = GetParam();
  std::ifstream stream(source_path("tests/golden/networks/" + c.network + ".json"));
  const nlohmann::json golden = nlohmann::json::parse(stream);
  const nlohmann::json& one = golden.at("cases").at(0);
  const Shape input{1, one.at("height"), one.at("width"), 3};
  const NetworkSpec spec{c.network, 8, {}};
  const Graph graph = build_network(spec, input);

  DeviceContext context;
  Parameters parameters(graph.parameters(), context.stream, false);
  macadam::testing::set_rule_values(parameters, golden.at("weight_gain"));
  const WeightImport weights(std::filesystem::path(folder) / c.file, spec, graph);
  EXPECT_TRUE(weights.report().scheme.starts_with(c.scheme)) << weights.report().scheme;
  EXPECT_GT(weights.report().encoder_loaded, 20u);
  weights.for_each([&](size_t i, std::span<const float> values, bool) {
    const std::vector<float> expected = parameters.read(i, Parameters::Field::value);
    ASSERT_TRUE(std::equal(values.begin(), values.end(), expected.begin(), expected.end()))
        << graph.parameters()[i].name;
    parameters.write(i, Parameters::Field::value, values);
  });

  PlanOptions options;
  Plan plan(graph, parameters, context, options);
  plan.pack_weights();
  std::vector<float> image = macadam::testing::rule_image(input);
  context.ops.elementwise->copy(Tensor(image.data(), input, DType::f32), plan.input(), false);
  plan.forward();
  const float* scores = plan.output().as<float>();
  const auto count = to_size(plan.output().shape.elements());
  double worst = 0;
  for (size_t k = 0; k < one.at("samples").size(); ++k) {
    const double got = scores[rule_bits("samples", k) % count];
    worst = std::max(worst, std::abs(got - one.at("samples")[k].get<double>()));
  }
  const double error = worst / one.at("max_abs").get<double>();
  std::printf("%s: %s, %.2e\n", c.file.c_str(), weights.report().scheme.c_str(), error);
  EXPECT_LT(error, 1e-5);
}

constexpr const char* kUnnamed = "Keras, which named layers itself";

INSTANTIATE_TEST_SUITE_P(
    Tools, WeightFiles,
    ::testing::Values(
        Case{"torchvision_resnet34.pth", "resnet34_unet", "torchvision"},
        Case{"torchvision_vgg16_legacy.pth", "vgg16_unet", "torchvision"},
        Case{"torchvision_efficientnet_b0.pth", "efficientnet_b0_unet", "torchvision"},
        Case{"timm_efficientnet_b0.safetensors", "efficientnet_b0_unet", "timm"},
        Case{"smp_resnet34_unet.pth", "resnet34_unet", "segmentation_models.pytorch"},
        Case{"keras_resnet34.h5", "keras_resnet34_unet", "Keras"},
        Case{"keras_vgg16_unet.h5", "keras_vgg16_unet", "Keras"},
        Case{"keras_mobilenet.h5", "keras_mobilenet_unet", "Keras"},
        Case{"keras_mobilenetv2_unet.h5", "keras_mobilenetv2_unet", "Keras"},
        Case{"keras_densenet121.h5", "keras_densenet121_unet", "Keras"},
        Case{"keras_densenet121_legacy_unet.h5", "keras_densenet121_unet", "Keras"},
        Case{"keras_seresnet50.h5", "keras_seresnet50_unet", kUnnamed},
        Case{"keras_inceptionv3.h5", "keras_inceptionv3_unet", kUnnamed},
        Case{"keras_inceptionv3_unet.h5", "keras_inceptionv3_unet", kUnnamed},
        Case{"keras_inceptionresnetv2_unet.h5", "keras_inceptionresnetv2_unet", kUnnamed}));

}  // namespace
