// The memory of a dense network's plan: blocks whose layers read all layers before them are held
// once, whatever the number of concatenations.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/to_size.h"
#include "engine/graph/rewrite.h"
#include "engine/plan/plan.h"
#include "models/network.h"

using namespace macadam;

namespace {

/// The most elements alive at once while the nodes run one after another, if a concatenation costs
/// nothing: it is alive in what it was made of.
int64_t live_peak(const Graph& graph) {
  const auto index = [](Value v) { return to_size(v.id); };
  const auto values = to_size(graph.values());
  std::vector<std::set<size_t>> parts(values);  // of a value: what layers computed
  std::vector<size_t> made(values), last_read(values);
  parts[0] = {0};
  const std::vector<Node>& nodes = graph.nodes();
  for (size_t i = 0; i < nodes.size(); ++i) {
    const size_t out = index(nodes[i].output);
    made[out] = i;
    const bool concat = std::holds_alternative<ConcatLayer>(nodes[i].layer);
    if (!concat) parts[out] = {out};
    for (Value v : nodes[i].inputs) {
      for (const size_t part : parts[index(v)]) last_read[part] = i;
      if (concat) parts[out].merge(std::set(parts[index(v)]));
    }
  }
  last_read[index(graph.output())] = nodes.size();
  int64_t peak = 0;
  for (size_t time = 0; time < nodes.size(); ++time) {
    int64_t alive = 0;
    for (size_t v = 0; v < values; ++v) {
      const bool computed = parts[v] == std::set{v};
      if (computed && made[v] <= time && time <= last_read[v]) {
        alive += graph.shape(Value{static_cast<int>(v)}).elements();
      }
    }
    peak = std::max(peak, alive);
  }
  return peak;
}

/// As a plan for inference has it.
Graph inference_graph(const Graph& graph) {
  return fuse_activations(fold_batch_norms(remove_dropout(graph)), false);
}

double arena_ratio(const Graph& graph) {
  DeviceContext context;
  Parameters parameters(graph.parameters(), context.stream, false);
  const PlanMemory memory = Plan(graph, parameters, context, {}).memory();
  const auto live = static_cast<double>(live_peak(inference_graph(graph))) * sizeof(float);
  const double ratio = static_cast<double>(memory.arena) / live;
  std::printf("live %.1f MiB, arena %.3f of that, %.3f of its own peak\n", live / (1 << 20), ratio,
              static_cast<double>(memory.arena) / static_cast<double>(memory.peak));
  return ratio;
}

TEST(LivePeak, CountsConcatenationsOnce) {
  Graph g({1, 4, 4, 2});
  ConvLayer conv;
  conv.out_channels = 3;
  const Value a = g.conv(g.input(), "a", conv);
  const Value b = g.conv(a, "b", conv);
  g.set_output(g.concat({g.concat({a, b}), a}));
  EXPECT_EQ(live_peak(g), 16 * (3 + 3));
}

// Images so large that packing the weights needs less. The arena has more than what is alive: a
// skip beside its copy in the decoder's concatenation. A block that is tapped as it is ("concat")
// lies in that concatenation, whose other channels wait for the decoder.
TEST(DenseNetMemory, IsThatOfWhatLayersMake) {
  const std::map<std::string, double> limits{{"norm", 1.15}, {"concat", 1.2}};
  for (const auto& [taps, limit] : limits) {
    for (const Shape input : {Shape{1, 512, 1024, 3}, Shape{2, 321, 450, 3}}) {
      const double ratio =
          arena_ratio(build_network({"densenet121_unet", 8, {{"taps", taps}}}, input));
      EXPECT_GE(ratio, 1) << taps << " " << input.text();
      EXPECT_LE(ratio, limit) << taps << " " << input.text();
    }
  }
}

// A dense block alone, where the decoder's memory hides nothing.
TEST(DenseNetMemory, OfABlockIsThatOfItsLastLayer) {
  Graph g({1, 32, 32, 64});
  Value x = g.relu(g.batch_norm(g.input(), "stem"));
  for (int layer = 0; layer < 24; ++layer) {
    const std::string name = "layer" + std::to_string(layer);
    ConvLayer conv;
    conv.out_channels = 32;
    x = g.concat({x, g.conv(g.relu(g.batch_norm(x, name + ".norm")), name + ".conv", conv)});
  }
  g.set_output(g.relu(g.batch_norm(x, "last")));
  EXPECT_LE(arena_ratio(g), 1.15);
}

TEST(DenseNetMemory, InTrainingIsCloseToItsLowerBound) {
  DeviceContext context;
  const Graph graph = build_network({"densenet121_unet", 8, {}}, {1, 64, 96, 3});
  Parameters parameters(graph.parameters(), context.stream, true);
  PlanOptions options;
  options.mode = Mode::train;
  options.loss = LossDesc{};
  const PlanMemory memory = Plan(graph, parameters, context, options).memory();
  EXPECT_LE(static_cast<double>(memory.arena), 1.1 * static_cast<double>(memory.peak));
}

}  // namespace
