// What a layout promises: every tensor inside its block, every block alive whenever it is touched.

#include "engine/plan/placement.h"

#include <gtest/gtest.h>

#include "base/to_size.h"
#include "engine/graph/rewrite.h"
#include "tests/engine/small_networks.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr Shape kInput{2, 8, 12, 3};
constexpr size_t kElement = 4;
constexpr size_t kPackWorkspace = 1 << 20;  // more than all else

size_t id(Value v) { return to_size(v.id); }

struct Compiled {
  Compiled(const Graph& original, bool training_, bool pads = false, int inputs = 1)
      : training(training_),
        graph(training ? join_means(join_max_pools(
                             join_additions(fuse_dropout(fuse_activations(original, true)))))
                       : fuse_activations(fold_batch_norms(remove_dropout(original)), false)),
        ops(make_ops(stream)) {
    if (pads) graph = pad_channels(graph);
    const std::vector<bool> learns = parameters_requiring_gradient(graph, {});
    const std::vector<bool> required = values_requiring_gradient(graph, learns);
    for (const Node& node : graph.nodes()) {
      const bool input_gradient = training && required[id(node.inputs[0])];
      const LayerContext context{graph,          node,     ops, DType::f32, training,
                                 input_gradient, training, 0,   &state};
      needs.push_back(make_layer(context)->needs());
    }
    const Shape scores = graph.shape(graph.output());
    layout = lay_out(graph, needs,
                     {.training = training,
                      .inputs = inputs,
                      .requires_gradient = required,
                      .element_bytes = kElement,
                      .labels_bytes = to_size(scores.pixels()),
                      .loss_workspace_bytes = 1000,
                      .pack_workspace_bytes = kPackWorkspace});
  }

  int nodes() const { return static_cast<int>(graph.nodes().size()); }
  int forward_time(int node) const { return 1 + node; }
  int loss_time() const { return nodes() + 1; }
  int backward_time(int node) const { return 2 * nodes() + 1 - node; }
  /// The node that takes this one's gradient: itself, or the maker of a joined pooling's input.
  int backward_node(int node) const {
    const auto& pools = layout.joined_pools;
    const auto maker = std::find(pools.begin(), pools.end(), node);
    return maker == pools.end() ? node : static_cast<int>(maker - pools.begin());
  }

  bool training;
  Graph graph;
  Stream stream;
  Ops ops;
  StepState state;
  std::vector<LayerNeeds> needs;
  PlanLayout layout;
};

void expect_alive(const Compiled& c, int block, int time, const std::string& what) {
  ASSERT_GE(block, 0) << what;
  const MemoryBlock& b = c.layout.blocks[to_size(block)];
  EXPECT_LE(b.first, time) << what;
  EXPECT_GE(b.last, time) << what;
}

void expect_inside(const Compiled& c, const Place& place, Value v, const std::string& what) {
  ASSERT_TRUE(place.placed()) << what;
  const Shape shape = c.graph.shape(v);
  EXPECT_LE(place.first_channel + shape.c, place.pixel_stride) << what;
  const size_t bytes = to_size(shape.pixels() * place.pixel_stride) * kElement;
  EXPECT_LE(bytes, c.layout.blocks[to_size(place.block)].bytes) << what;
}

void expect_sound(const Compiled& c) {
  const PlanLayout& l = c.layout;
  expect_alive(c, l.values[0].block, 0, "input");
  expect_alive(c, l.labels[0], 0, "labels");
  expect_alive(c, l.labels[0], c.loss_time(), "labels");
  expect_alive(c, l.loss_workspace, c.loss_time(), "loss workspace");
  expect_alive(c, l.values[id(c.graph.output())].block, c.loss_time(), "scores");
  for (int i = 0; i < c.nodes(); ++i) {
    const auto n = to_size(i);
    const Node& node = c.graph.nodes()[n];
    const LayerNeeds& needs = c.needs[n];
    const std::string what = "node " + std::to_string(i);
    const Place out = l.values[id(node.output)];
    expect_inside(c, out, node.output, what);
    expect_alive(c, out.block, c.forward_time(i), what);
    const bool slice = out.pixel_stride != c.graph.shape(node.output).c;
    EXPECT_TRUE(needs.writes_slices || !slice) << what;
    for (Value v : node.inputs) {
      expect_inside(c, l.values[id(v)], v, what + " input");
      const bool part = l.values[id(v)].pixel_stride != c.graph.shape(v).c;
      EXPECT_TRUE(needs.reads_slices || !part) << what;
      expect_alive(c, l.values[id(v)].block, c.forward_time(i), what + " input");
    }
    EXPECT_EQ(l.forward_workspace[n] >= 0, needs.forward.total(slice, false) > 0) << what;
    EXPECT_EQ(l.saved[n] >= 0, needs.saved > 0) << what;

    const Place dy = l.gradients[id(node.output)];
    if (!dy.placed()) continue;
    EXPECT_TRUE(c.training);
    const int t = c.backward_time(c.backward_node(i));
    expect_inside(c, dy, node.output, what + " gradient");
    expect_alive(c, dy.block, t, what + " gradient");
    if (needs.saved > 0) expect_alive(c, l.saved[n], t, what + " saved");
    if (needs.backward_reads_output) expect_alive(c, out.block, t, what + " output");
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      const Value v = node.inputs[k];
      if (needs.backward_reads_input) expect_alive(c, l.values[id(v)].block, t, what + " input");
      if (!l.requires_gradient[id(v)]) continue;
      expect_inside(c, l.gradients[id(v)], v, what + " input gradient");
      expect_alive(c, l.gradients[id(v)].block, t, what + " input gradient");
    }
  }
  const MemoryPlacement placement = place_blocks(l.blocks);
  for (size_t b = 0; b < l.blocks.size(); ++b) {
    EXPECT_LE(placement.offsets[b] + l.blocks[b].bytes, placement.arena);
  }
}

TEST(Placement, IsSoundForRandomGraphs) {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    const Graph graph = random_graph(seed, kInput, 4);
    expect_sound(Compiled(graph, true));
    expect_sound(Compiled(graph, false));
    expect_sound(Compiled(graph, true, false, 2));
  }
}

/// How many other blocks use some of a block's memory.
int blocks_sharing(const PlanLayout& layout, int block) {
  const MemoryPlacement placement = place_blocks(layout.blocks);
  const auto begin = [&](int b) { return placement.offsets[to_size(b)]; };
  const auto end = [&](int b) { return begin(b) + layout.blocks[to_size(b)].bytes; };
  int shared = 0;
  for (int b = 0; b < static_cast<int>(layout.blocks.size()); ++b) {
    shared += b != block && begin(b) < end(block) && begin(block) < end(b);
  }
  return shared;
}

// What a pooling hands back stays until the convolution before it takes it: beside other gradients,
// or alone.
TEST(Placement, AJoinedPoolingsGradientWaitsForTheConvolution) {
  Graph g(kInput);
  const auto conv = [](int channels) {
    ConvLayer layer;
    layer.out_channels = channels;
    return layer;
  };
  const Value skip = g.relu(g.conv(g.input(), "a", conv(8)));
  const Value deep = g.relu(g.conv(g.max_pool(skip), "b", conv(8)));
  const Value x = g.relu(g.conv(g.max_pool(deep), "c", conv(8)));
  const Value up = g.upsample(x, kInput.h, kInput.w);
  g.set_output(g.conv(g.concat({up, skip}), "head", conv(4)));
  const Compiled c(g, true);
  EXPECT_EQ(c.layout.joined_pools, (std::vector<int>{1, -1, 3, -1, -1, -1, -1, -1}));
  EXPECT_EQ(c.layout.only_pooled,
            (std::vector<bool>{false, false, true, false, false, false, false, false}));
  expect_sound(c);
  for (const int maker : {0, 2}) {
    const auto pool = to_size(c.layout.joined_pools[to_size(maker)]);
    const Value pooled = c.graph.nodes()[pool].output;
    const int t = c.backward_time(maker);
    expect_alive(c, c.layout.gradients[id(pooled)].block, t, "the pooled gradient");
    expect_alive(c, c.layout.saved[pool], t, "the index");
    EXPECT_FALSE(c.layout.accumulate[pool][0]) << "the pooling itself adds nothing";
  }
}

TEST(Placement, APaddedInputHasItsMemoryToItself) {
  for (const bool training : {true, false}) {
    for (const bool pads : {true, false}) {
      const PlanLayout layout = Compiled(small_unet(kInput, 4, 0.25f), training, pads).layout;
      ASSERT_GE(layout.pack_workspace, 0);
      EXPECT_EQ(layout.values[0].pixel_stride, pads ? 8 : 3);
      EXPECT_EQ(blocks_sharing(layout, layout.values[0].block) == 0, pads);
    }
  }
}

TEST(Placement, SeveralInputsHaveTheirMemoryToThemselves) {
  for (const bool training : {true, false}) {
    for (const bool pads : {true, false}) {
      const Compiled c(small_unet(kInput, 4, 0.25f), training, pads, 3);
      ASSERT_EQ(c.layout.inputs.size(), 3u);
      ASSERT_EQ(c.layout.labels.size(), 3u);
      EXPECT_EQ(c.layout.inputs[0].block, c.layout.values[0].block);
      for (size_t i = 0; i < 3; ++i) {
        expect_inside(c, c.layout.inputs[i], c.graph.input(), "input");
        EXPECT_EQ(blocks_sharing(c.layout, c.layout.inputs[i].block), 0);
        EXPECT_EQ(blocks_sharing(c.layout, c.layout.labels[i]), 0);
      }
    }
  }
}

// small_unet: the up-sampled half of the concatenation is written in place; the skip, which the
// pool reads too, is copied. Both gradients are slices of the concatenation's.
TEST(Placement, ConcatenationsAreWrittenInPlace) {
  const Compiled c(small_unet(kInput, 4, 0.25f), true);
  int found = 0;
  for (const Node& node : c.graph.nodes()) {
    if (!std::holds_alternative<ConcatLayer>(node.layer)) continue;
    ++found;
    const Place whole = c.layout.values[id(node.output)];
    const Place up = c.layout.values[id(node.inputs[0])];
    const Place skip = c.layout.values[id(node.inputs[1])];
    EXPECT_EQ(up.block, whole.block);
    EXPECT_EQ(up.first_channel, 0);
    EXPECT_NE(skip.block, whole.block);
    const Place d_whole = c.layout.gradients[id(node.output)];
    const Place d_skip = c.layout.gradients[id(node.inputs[1])];
    EXPECT_EQ(c.layout.gradients[id(node.inputs[0])].block, d_whole.block);
    EXPECT_EQ(d_skip.block, d_whole.block);
    EXPECT_EQ(d_skip.first_channel, 16);
    EXPECT_EQ(d_skip.pixel_stride, 24);
  }
  EXPECT_EQ(found, 1);
}

// Each layer of a dense block reads all that was made before it in the block: one tensor holds what
// they made, and one their gradients.
TEST(Placement, ConcatenationsInConcatenationsAreOneTensor) {
  for (const bool training : {true, false}) {
    const Compiled c(small_densenet(kInput, 4), training);
    expect_sound(c);
    std::vector<Value> wholes;
    for (const Node& node : c.graph.nodes()) {
      if (std::holds_alternative<ConcatLayer>(node.layer)) wholes.push_back(node.output);
    }
    ASSERT_EQ(wholes.size(), 7u);  // three layers and two, then the decoder
    const auto expect_slices = [&](size_t first, size_t count) {
      const Value last = wholes[first + count - 1];
      for (size_t i = first; i < first + count; ++i) {
        const Place& part = c.layout.values[id(wholes[i])];
        EXPECT_EQ(part.block, c.layout.values[id(last)].block) << i;
        EXPECT_EQ(part.first_channel, c.layout.values[id(last)].first_channel) << i;
        if (!training) continue;
        EXPECT_EQ(c.layout.gradients[id(wholes[i])].block, c.layout.gradients[id(last)].block) << i;
      }
    };
    expect_slices(0, 3);
    expect_slices(3, 2);
  }
}

TEST(Placement, TransposedConvolutionsWriteIntoTheirConcatenation) {
  Graph g(kInput);
  ConvLayer conv;
  conv.out_channels = 4;
  const Value skip = g.relu(g.conv(g.input(), "a", conv));
  ConvTransposeLayer up;
  up.out_channels = 4;
  const Value x = g.conv_transpose(g.max_pool(skip), "up", up);
  const Value joined = g.concat({skip, x});
  g.set_output(g.conv(joined, "head", conv));
  const Compiled c(g, true);
  const Place part = c.layout.values[id(x)], whole = c.layout.values[id(joined)];
  EXPECT_EQ(part.block, whole.block);
  EXPECT_EQ(part.first_channel, 4);
  expect_sound(c);
}

TEST(Placement, TheLossWritesItsGradientOverTheScores) {
  const Compiled c(small_unet(kInput, 4, 0.25f), true);
  EXPECT_EQ(c.layout.gradients[id(c.graph.output())].block,
            c.layout.values[id(c.graph.output())].block);
}

// A concatenation of parts whose layers read them again on the way back.
TEST(Placement, ScoresThatAreReadAgainKeepTheirMemory) {
  Graph g(kInput);
  ConvLayer conv;
  conv.out_channels = 2;
  const Value sum = g.add(g.conv(g.input(), "a", conv), g.conv(g.input(), "b", conv));
  const Value a = g.relu(sum);  // its gradient is computed from its output
  g.set_output(g.concat({a, g.conv(g.input(), "c", conv)}));
  const Compiled c(g, true);
  EXPECT_EQ(c.layout.values[id(a)].block, c.layout.values[id(g.output())].block);
  EXPECT_NE(c.layout.gradients[id(g.output())].block, c.layout.values[id(g.output())].block);
}

TEST(Placement, AValueThatOthersReadAsWellLiesInItsConcatenation) {
  Graph g(kInput);
  ConvLayer conv;
  conv.out_channels = 2;
  const Value skip = g.relu(g.batch_norm(g.conv(g.input(), "a", conv), "norm"));
  const Value up = g.upsample(g.max_pool(skip), g.input());
  const Value joined = g.concat({up, skip});
  g.set_output(g.conv(joined, "head", conv));
  const PlanLayout pooled = Compiled(g, true).layout;
  EXPECT_EQ(pooled.values[id(skip)].block, pooled.values[id(joined)].block);
  EXPECT_EQ(pooled.values[id(skip)].first_channel, 2);

  g.set_output(g.add(g.output(), g.conv(skip, "dense", conv)));  // convolutions read dense tensors
  const PlanLayout convolved = Compiled(g, true).layout;
  EXPECT_NE(convolved.values[id(skip)].block, convolved.values[id(joined)].block);
  EXPECT_EQ(convolved.values[id(up)].block, convolved.values[id(joined)].block);
}

TEST(Placement, GradientsAreMadeInPlaceWhereTheLayerCan) {
  Graph g(kInput);
  ConvLayer conv;
  conv.out_channels = 2;
  const Value a = g.conv(g.input(), "a", conv), b = g.conv(g.input(), "b", conv);
  const Value norm = g.batch_norm(a, "norm");
  const Value sum = g.add(norm, b);
  g.set_output(g.conv(g.concat({sum, a}), "head", conv));  // a has a reader that comes first
  const PlanLayout l = Compiled(g, true).layout;
  const auto block = [&](Value v) { return l.gradients[id(v)].block; };
  EXPECT_NE(block(norm), block(sum)) << "a slice of the concatenation's gradient";
  EXPECT_NE(block(norm), block(b));

  Graph chain(kInput);
  const Value x = chain.conv(chain.input(), "a", conv);
  const Value normed = chain.batch_norm(x, "norm");
  const Value total = chain.add(normed, chain.conv(chain.input(), "b", conv), 0.5f);
  const Value dropped = chain.dropout(total, 0.5f);
  chain.set_output(chain.conv(dropped, "head", conv));
  const PlanLayout c = Compiled(chain, true).layout;
  for (Value v : {x, normed, total}) {
    EXPECT_EQ(c.gradients[id(v)].block, c.gradients[id(dropped)].block);
  }
}

// Of a norm with an addition behind it, which then hands dy on as it is. Where that has memory
// already the norm's own takes dy's.
TEST(Placement, TheGradientOfWhatIsAddedIsMadeInPlaceBeforeTheNorms) {
  for (const bool read_later : {false, true}) {
    Graph g(kInput);
    ConvLayer conv;
    conv.out_channels = 2;
    const Value skip = g.conv(g.input(), "a", conv);
    const Value x = g.conv(g.input(), "b", conv);
    const Value sum = g.add(g.batch_norm(x, "norm"), skip);
    const Value next = g.conv(sum, "next", conv);
    g.set_output(read_later ? g.add(next, skip, 0.5f) : next);
    const Compiled c(g, true);
    expect_sound(c);
    const auto block = [&](Value v) { return c.layout.gradients[id(v)].block; };
    EXPECT_EQ(block(skip) == block(sum), !read_later);
    EXPECT_EQ(block(x) == block(sum), read_later);
    // What is added need not stay for the way back, the norm's input must.
    const int t = c.backward_time(2);
    EXPECT_LT(c.layout.blocks[to_size(c.layout.values[id(skip)].block)].last, t);
    expect_alive(c, c.layout.values[id(x)].block, t, "the norm's input");
  }
}

TEST(Placement, OnlyValuesBehindParametersNeedGradients) {
  Graph g(kInput);
  const Value pooled = g.max_pool(g.input());
  ConvLayer conv;
  conv.out_channels = 4;
  const Value y = g.conv(pooled, "conv", conv);
  g.set_output(g.upsample(y, kInput.h, kInput.w));
  const std::vector<bool> required =
      values_requiring_gradient(g, parameters_requiring_gradient(g, {}));
  EXPECT_FALSE(required[0]);
  EXPECT_FALSE(required[id(pooled)]);
  EXPECT_TRUE(required[id(y)]);
  EXPECT_TRUE(required[id(g.output())]);
}

}  // namespace
