// A head that training alone has, upon every network.

#include "models/auxiliary_head.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/to_size.h"
#include "engine/graph/rewrite.h"
#include "engine/model/model_file.h"
#include "models/weight_import.h"
#include "tests/base/temporary_folder.h"

using namespace macadam;
using macadam::testing::TemporaryFolder;

namespace {

constexpr Shape kImage{2, 96, 64, 3};

NetworkSpec with_head(std::string_view name) {
  return {std::string(name), 5, {{"auxiliary", "0.4"}}};
}

bool is_auxiliary(std::string_view name) { return name.starts_with(kAuxiliaryPrefix); }

/// The same of a network that may have a head of its authors'.
bool is_auxiliary(const NetworkEntry& entry, std::string_view name) {
  if (entry.parts.auxiliary.empty()) return is_auxiliary(name);
  return std::ranges::any_of(entry.parts.auxiliary,
                             [&](std::string_view prefix) { return name.starts_with(prefix); });
}

TEST(AuxiliaryHead, EverySegmentationNetworkTakesOne) {
  for (const NetworkEntry& entry : networks()) {
    SCOPED_TRACE(entry.name);
    if (entry.task != Task::segmentation) {
      EXPECT_THROW(build_network(with_head(entry.name), {1, 224, 224, 3}), InputError);
      continue;
    }
    const Graph plain = build_network({std::string(entry.name), 5, {}}, kImage);
    const Graph graph = build_network(with_head(entry.name), kImage);
    ASSERT_EQ(graph.auxiliary_outputs().size(), 1u);
    EXPECT_EQ(graph.auxiliary_outputs()[0].weight, 0.4f);
    EXPECT_EQ(graph.shape(graph.auxiliary_outputs()[0].value), graph.shape(graph.output()));
    EXPECT_EQ(graph.output(), plain.output());

    // Behind the network's own parameters there are the head's, and nothing else.
    ASSERT_GT(graph.parameters().size(), plain.parameters().size());
    for (size_t p = 0; p < graph.parameters().size(); ++p) {
      const bool own = p < plain.parameters().size();
      EXPECT_EQ(is_auxiliary(entry, graph.parameters()[p].name), !own);
      if (own) {
        EXPECT_EQ(graph.parameters()[p].name, plain.parameters()[p].name);
      }
    }
    const Graph predicting = remove_auxiliary_outputs(graph);
    EXPECT_EQ(predicting.nodes().size(), plain.nodes().size());
    EXPECT_EQ(predicting.macs(), plain.macs());
    EXPECT_EQ(predicting.output(), plain.output());
    EXPECT_TRUE(predicting.auxiliary_outputs().empty());
  }
}

TEST(AuxiliaryHead, SitsOnAnEighthOfTheSize) {
  const auto features_of = [](std::string_view name, Shape image) {
    const Graph graph = build_network(with_head(name), image);
    for (const Node& node : graph.nodes()) {
      if (node.name == "auxiliary.conv") return graph.shape(node.inputs[0]);
    }
    ADD_FAILURE() << "no head";
    return Shape{};
  };
  // smp's decoder block of 128 channels; odd sizes are rounded up on the way down.
  EXPECT_EQ(features_of("resnet34_unet", {1, 96, 64, 3}), (Shape{1, 12, 8, 128}));
  EXPECT_EQ(features_of("resnet34_unet", {1, 90, 61, 3}), (Shape{1, 12, 8, 128}));
  // UNet-mini's deepest features are of a quarter.
  EXPECT_EQ(features_of("unet_mini", {1, 96, 64, 3}), (Shape{1, 24, 16, 128}));
}

TEST(AuxiliaryHead, IsTheAuthorsWhereTheyHaveOne) {
  const auto parameters = [](const char* name) {
    return build_network({name, 8, {{"auxiliary", "0.4"}}}, kImage).parameter_count();
  };
  EXPECT_EQ(parameters("ddrnet23_slim"), 5'732'912);
  EXPECT_EQ(parameters("ddrnet23"), 20'296'528);
  EXPECT_EQ(parameters("ddrnet39"), 32'655'184);
  // 19 classes: 7,720,935 and 28,763,111.
  EXPECT_EQ(parameters("pidnet_s"), 7'720'935 - 11 * 2 * 129);
  EXPECT_EQ(parameters("pidnet_m"), 28'763'111 - 11 * 2 * 129);
  EXPECT_EQ(parameters("fast_scnn"), 1'136'632 + 9 * 64 * 32 + 2 * 32 + 33 * 8);
  // 19 classes: 20,695,430 of S.
  EXPECT_EQ(parameters("gcnet_s"), 20'695'430 - 11 * 2 * 65);
  EXPECT_EQ(parameters("gcnet_m"), 80'049'872);
  EXPECT_EQ(parameters("gcnet_l"), 106'200'912);
  for (const NetworkEntry& entry : networks()) {
    if (entry.task != Task::segmentation) continue;
    const std::string about(options_of(entry).back().description);
    EXPECT_EQ(about.find("authors") != about.npos, !entry.parts.auxiliary.empty()) << entry.name;
  }
  EXPECT_THROW(build_network({"ddrnet23_slim", 5, {{"auxiliary", "11"}}}, kImage), InputError);
}

TEST(AuxiliaryHead, ItsWeightIsANumberFromZeroToTen) {
  for (const char* value : {"-0.1", "10.5", "much", ""}) {
    EXPECT_THROW(build_network({"unet_mini", 5, {{"auxiliary", value}}}, kImage), InputError)
        << value;
  }
  EXPECT_TRUE(
      build_network({"unet_mini", 5, {{"auxiliary", "0"}}}, kImage).auxiliary_outputs().empty());
}

/// A file of the network's parameters, the n-th of which is filled with n.
void write_weights(const std::filesystem::path& file, const Graph& graph) {
  std::vector<std::vector<float>> values;
  std::map<std::string, ModelTensorView> tensors;
  for (const ParameterSpec& p : graph.parameters()) {
    values.emplace_back(to_size(p.shape.elements()), static_cast<float>(values.size()));
    tensors[p.name] = {p.file_shape(), values.back()};
  }
  save_model(file, {}, tensors);
}

TEST(AuxiliaryHead, StartsAnewWithOtherWeightsAndGoesOnWithItsOwn) {
  const TemporaryFolder folder;
  const Graph plain = build_network({"unet_mini", 5, {}}, kImage);
  const Graph graph = build_network(with_head("unet_mini"), kImage);
  write_weights(folder / "plain.safetensors", plain);
  write_weights(folder / "whole.safetensors", graph);
  const auto loaded = [&](const char* file) {
    const WeightImport weights(folder / file, with_head("unet_mini"), graph);
    size_t own = 0, head = 0;
    weights.for_each([&](size_t p, std::span<const float> values, bool) {
      EXPECT_EQ(values[0], static_cast<float>(p));
      ++(is_auxiliary(graph.parameters()[p].name) ? head : own);
    });
    EXPECT_EQ(own, plain.parameters().size());
    EXPECT_EQ(weights.report().missing.size(),
              graph.parameters().size() - plain.parameters().size() - head);
    return head;
  };
  EXPECT_EQ(loaded("plain.safetensors"), 0u);
  EXPECT_EQ(loaded("whole.safetensors"), graph.parameters().size() - plain.parameters().size());
  // A network without the head takes the rest.
  const WeightImport rest(folder / "whole.safetensors", {"unet_mini", 5, {}}, plain);
  EXPECT_TRUE(rest.report().missing.empty());
}

TEST(AuxiliaryHead, OfTheAuthorsIsInTheirFiles) {
  const TemporaryFolder folder;
  const Graph plain = build_network({"ddrnet23_slim", 5, {}}, kImage);
  const Graph graph = build_network(with_head("ddrnet23_slim"), kImage);
  write_weights(folder / "plain.safetensors", plain);
  write_weights(folder / "whole.safetensors", graph);
  const size_t head = graph.parameters().size() - plain.parameters().size();
  // {missing, unused}
  const auto report = [&](const char* file, const NetworkSpec& spec, const Graph& network) {
    const ImportReport found = WeightImport(folder / file, spec, network).report();
    return std::pair(found.missing.size(), found.unused.size());
  };
  const NetworkSpec without{"ddrnet23_slim", 5, {}};
  EXPECT_EQ(report("whole.safetensors", with_head("ddrnet23_slim"), graph), std::pair(0ul, 0ul));
  EXPECT_EQ(report("plain.safetensors", with_head("ddrnet23_slim"), graph), std::pair(head, 0ul));
  EXPECT_EQ(report("whole.safetensors", without, plain), std::pair(0ul, head));
}

}  // namespace
