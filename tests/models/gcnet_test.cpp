// GCNet is trained with several branches a block, of which inference makes one convolution: what is
// left then is what the authors' deployed network has.

#include <gtest/gtest.h>

#include "engine/graph/rewrite.h"
#include "models/network.h"

using namespace macadam;

namespace {

struct Row {
  const char* name;
  int64_t parameters;  // as the authors' switch_to_deploy() leaves them
  double gmac;
  int convolutions;
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class GcNet : public ::testing::TestWithParam<Row> {};

TEST_P(GcNet, InfersWithTheWeightsOfTheDeployedNetwork) {
  const Graph graph = for_inference(build_network({GetParam().name, 8, {}}, {1, 512, 1024, 3}));
  int64_t parameters = 0;
  int convolutions = 0;
  for (const Node& node : graph.nodes()) {
    if (std::holds_alternative<BatchNormLayer>(node.layer)) {
      parameters += 2 * graph.shape(node.output).c;
    }
    const auto* conv = std::get_if<ConvLayer>(&node.layer);
    if (conv == nullptr) continue;
    ++convolutions;
    parameters += graph.conv_desc(node).weights().elements();
    // The authors leave batch norms behind other convolutions than a block's as they are.
    parameters += (conv->folded_norm ? 2 : conv->shifts() ? 1 : 0) * conv->out_channels;
  }
  EXPECT_EQ(parameters, GetParam().parameters);
  EXPECT_EQ(convolutions, GetParam().convolutions);
  EXPECT_NEAR(static_cast<double>(graph.macs()) * 1e-9, GetParam().gmac, 0.001);
}

INSTANTIATE_TEST_SUITE_P(, GcNet,
                         ::testing::Values(Row{"gcnet_s", 9'169'256, 11.271, 50},
                                           Row{"gcnet_m", 34'054'600, 44.579, 50},
                                           Row{"gcnet_l", 44'858'760, 57.874, 56}),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
