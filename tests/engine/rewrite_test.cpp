#include "engine/graph/rewrite.h"

#include <gtest/gtest.h>

#include <array>

#include "base/to_size.h"
#include "tests/engine/small_networks.h"

using namespace macadam;

namespace {

constexpr Shape kInput{1, 8, 8, 4};

ConvLayer conv() {
  ConvLayer layer;
  layer.out_channels = 4;
  return layer;
}

/// "conv relu dropout" of the nodes.
std::string kinds(const Graph& graph) {
  std::string text;
  for (const Node& node : graph.nodes()) {
    text += (text.empty() ? "" : " ") + std::string(kind_of(node.layer));
  }
  return text;
}

TEST(FuseRelu, FoldsIntoConvolutionNormAndAdd) {
  Graph g(kInput);
  const Value a = g.relu(g.conv(g.input(), "a", conv()));
  const Value b = g.relu(g.batch_norm(a, "n"));
  g.set_output(g.relu(g.add(a, b)));
  const Graph fused = fuse_activations(g, true);
  ASSERT_EQ(kinds(fused), "conv batch_norm add");
  EXPECT_EQ(std::get<ConvLayer>(fused.nodes()[0].layer).activation, Activation::relu);
  EXPECT_EQ(std::get<BatchNormLayer>(fused.nodes()[1].layer).desc.activation, Activation::relu);
  EXPECT_TRUE(std::get<AddLayer>(fused.nodes()[2].layer).relu);
  EXPECT_EQ(fused.nodes()[0].output, a) << "values keep their numbers";
  EXPECT_EQ(fused.output(), g.output());
  EXPECT_EQ(fused.parameters().size(), g.parameters().size());
  EXPECT_EQ(fused.parameter_count(), g.parameter_count());
  EXPECT_EQ(fused.macs(), g.macs());
}

TEST(FuseRelu, LeavesAValueThatOthersRead) {
  Graph g(kInput);
  const Value a = g.conv(g.input(), "a", conv());
  g.set_output(g.add(g.relu(a), a));
  EXPECT_EQ(kinds(fuse_activations(g, true)), "conv relu add");
}

TEST(FuseRelu, LeavesTheScores) {
  Graph g(kInput);
  const Value a = g.conv(g.input(), "a", conv());
  g.relu(a);
  g.set_output(a);
  EXPECT_EQ(kinds(fuse_activations(g, true)), "conv relu");
}

TEST(FuseRelu, LeavesWhatHasNoActivation) {
  Graph g(kInput);
  g.set_output(g.relu(g.max_pool(g.relu(g.input()))));
  EXPECT_EQ(kinds(fuse_activations(g, true)), "relu max_pool relu");
}

TEST(FuseActivations, ConvolutionsInTrainingTakeThoseWithAGradientFromTheOutput) {
  Graph g(kInput);
  Value x = g.input();
  for (const Activation kind : {Activation::relu6, Activation::sigmoid, Activation::hardsigmoid,
                                Activation::silu, Activation::hardswish}) {
    x = g.activation(g.conv(x, std::string(name_of(kind)), conv()), kind);
  }
  g.set_output(x);
  EXPECT_EQ(kinds(fuse_activations(g, false)), "conv conv conv conv conv");
  const Graph training = fuse_activations(g, true);
  EXPECT_EQ(kinds(training), "conv conv conv conv silu conv hardswish");
  EXPECT_EQ(std::get<ConvLayer>(training.nodes()[1].layer).activation, Activation::sigmoid);
}

TEST(FuseActivations, NormsTakeEveryKindOnce) {
  Graph g(kInput);
  const Value x = g.activation(g.batch_norm(g.input(), "n"), Activation::silu);
  g.set_output(g.relu(x));
  const Graph fused = fuse_activations(g, true);
  ASSERT_EQ(kinds(fused), "batch_norm relu");
  EXPECT_EQ(std::get<BatchNormLayer>(fused.nodes()[0].layer).desc.activation, Activation::silu);
}

/// means -> 1x1 convolution -> activation -> 1x1 convolution -> gate.
struct Gates {
  Graph graph{kInput};
  Value means, squeezed, gates;

  explicit Gates(bool bias, Activation gate = Activation::sigmoid) {
    ConvLayer layer = conv();
    layer.kernel_h = layer.kernel_w = 1;
    layer.padding = {};
    layer.bias = bias;
    Graph& g = graph;
    means = g.global_average_pool(g.input());
    layer.out_channels = 2;
    squeezed = g.activation(g.conv(means, "squeeze", layer), Activation::silu);
    layer.out_channels = kInput.c;
    gates = g.activation(g.conv(squeezed, "excite", layer), gate);
    g.set_output(g.scale(g.input(), gates));
  }
};

TEST(FuseSqueezeExcite, OneNodeOfFour) {
  const Gates g(true);
  const Graph fused = fuse_squeeze_excite(g.graph);
  ASSERT_EQ(kinds(fused), "global_average squeeze_excite scale");
  const Node& node = fused.nodes()[1];
  EXPECT_EQ(node.inputs, std::vector<Value>{g.means});
  EXPECT_EQ(node.output, g.gates);
  EXPECT_EQ(node.parameters, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(std::get<SqueezeExciteLayer>(node.layer).hidden, 2);
  EXPECT_EQ(std::get<SqueezeExciteLayer>(node.layer).activation, Activation::silu);
  EXPECT_EQ(fused.macs(), g.graph.macs());
}

TEST(FuseSqueezeExcite, TheGateIsASigmoidOfEitherKind) {
  const Graph fused = fuse_squeeze_excite(Gates(true, Activation::hardsigmoid).graph);
  ASSERT_EQ(kinds(fused), "global_average squeeze_excite scale");
  EXPECT_EQ(std::get<SqueezeExciteLayer>(fused.nodes()[1].layer).gate, Activation::hardsigmoid);
  EXPECT_EQ(kinds(fuse_squeeze_excite(Gates(true, Activation::relu6).graph)),
            "global_average conv silu conv relu6 scale");
}

TEST(FuseSqueezeExcite, LeavesWhatOthersReadOrHasNoBias) {
  const std::string apart = "global_average conv silu conv sigmoid scale";
  EXPECT_EQ(kinds(fuse_squeeze_excite(Gates(false).graph)), apart);
  Gates shared(true);
  shared.graph.add(shared.squeezed, shared.squeezed);
  EXPECT_EQ(kinds(fuse_squeeze_excite(shared.graph)), apart + " add");
  Gates means(true);
  means.graph.add(means.means, means.means);
  EXPECT_EQ(kinds(fuse_squeeze_excite(means.graph)), apart + " add");
}

TEST(FoldBatchNorms, IntoTheConvolutionBefore) {
  Graph g(kInput);
  ConvLayer plain = conv();
  plain.bias = false;
  BatchNormDesc norm;
  norm.eps = 1e-3f;
  Value x = g.relu(g.batch_norm(g.conv(g.input(), "a", plain), "a_norm", norm));
  x = g.batch_norm(g.relu(g.conv(x, "b", conv())), "b_norm");  // the ReLU is in between
  const Value shared = g.conv(x, "c", conv());
  g.set_output(g.add(g.batch_norm(shared, "c_norm"), shared));  // the sum reads it as well
  const Graph folded = fuse_activations(fold_batch_norms(g), false);
  ASSERT_EQ(kinds(folded), "conv conv batch_norm conv batch_norm add");
  const Node& first = folded.nodes()[0];
  const auto& layer = std::get<ConvLayer>(first.layer);
  ASSERT_TRUE(layer.folded_norm.has_value());
  EXPECT_EQ(layer.folded_norm->eps, 1e-3f);
  EXPECT_EQ(layer.activation, Activation::relu);
  EXPECT_TRUE(folded.conv_desc(first).bias);
  ASSERT_EQ(first.parameters.size(), 5u);
  EXPECT_EQ(folded.parameters()[to_size(first.parameters[4])].name, "a_norm.running_var");
  EXPECT_FALSE(std::get<ConvLayer>(folded.nodes()[1].layer).folded_norm.has_value());
}

TEST(FoldBatchNorms, OnlyOne) {
  Graph g(kInput);
  g.set_output(g.batch_norm(g.batch_norm(g.conv(g.input(), "a", conv()), "n"), "m"));
  EXPECT_EQ(kinds(fold_batch_norms(g)), "conv batch_norm");
}

TEST(WithoutLastUpsampling, LeavesTheScoresBeforeIt) {
  Graph g(kInput);
  const Value small = g.conv(g.max_pool(g.input()), "a", conv());
  g.set_output(g.upsample(small, g.input(), true));
  EXPECT_EQ(without_last_upsampling(g).output(), small);
  EXPECT_EQ(kinds(without_last_upsampling(g)), "max_pool conv");

  Graph nearest(kInput);
  nearest.set_output(nearest.upsample(nearest.max_pool(nearest.input()), nearest.input()));
  EXPECT_EQ(without_last_upsampling(nearest).output(), nearest.output());

  Graph corners(kInput);
  corners.set_output(corners.upsample_corners(corners.max_pool(corners.input()), corners.input()));
  EXPECT_EQ(without_last_upsampling(corners).output(), corners.output());

  Graph none(kInput);
  none.set_output(none.conv(none.upsample(none.input(), 4, 4, true), "a", conv()));
  EXPECT_EQ(kinds(without_last_upsampling(none)), kinds(none));
}

TEST(FuseDropout, FoldsBehindAFusedRelu) {
  Graph g(kInput);
  Value x = g.dropout(g.relu(g.conv(g.input(), "a", conv())), 0.25f);
  x = g.dropout(g.relu(g.conv(x, "b", conv())), 0.5f);
  g.set_output(x);
  const Graph fused = fuse_dropout(fuse_activations(g, true));
  ASSERT_EQ(kinds(fused), "conv conv");
  const auto& a = std::get<ConvLayer>(fused.nodes()[0].layer);
  const auto& b = std::get<ConvLayer>(fused.nodes()[1].layer);
  EXPECT_EQ(a.dropout, 0.25f);
  EXPECT_EQ(b.dropout, 0.5f);
  EXPECT_NE(a.dropout_id, b.dropout_id);
  EXPECT_EQ(fused.nodes()[1].output, x);
}

TEST(FuseDropout, LeavesDropoutThatIsNotBehindAFusedRelu) {
  Graph before(kInput);
  before.set_output(before.relu(before.dropout(before.conv(before.input(), "a", conv()), 0.5f)));
  EXPECT_EQ(kinds(fuse_dropout(fuse_activations(before, true))), "conv dropout relu");

  Graph after_norm(kInput);
  after_norm.set_output(
      after_norm.dropout(after_norm.relu(after_norm.batch_norm(after_norm.input(), "n")), 0.5f));
  EXPECT_EQ(kinds(fuse_dropout(fuse_activations(after_norm, true))), "batch_norm dropout");

  Graph shared(kInput);
  const Value a = shared.relu(shared.conv(shared.input(), "a", conv()));
  shared.set_output(shared.add(shared.dropout(a, 0.5f), a));
  EXPECT_EQ(kinds(fuse_dropout(fuse_activations(shared, true))), "conv dropout add");

  Graph twice(kInput);
  twice.set_output(
      twice.dropout(twice.dropout(twice.relu(twice.conv(twice.input(), "a", conv())), 0.5f), 0.5f));
  EXPECT_EQ(kinds(fuse_dropout(fuse_activations(twice, true))), "conv dropout");
}

Graph with_additions(const Graph& graph) { return join_additions(fuse_activations(graph, true)); }

TEST(JoinAdditions, TakesTheNormWhicheverSideItIsOn) {
  for (const bool first : {false, true}) {
    Graph g(kInput);
    const Value skip = g.relu(g.conv(g.input(), "a", conv()));
    const Value x = g.conv(skip, "b", conv());
    const Value y = g.batch_norm(x, "n");
    g.set_output(g.relu(first ? g.add(y, skip) : g.add(skip, y)));
    const Graph joined = with_additions(g);
    ASSERT_EQ(kinds(joined), "conv conv batch_norm");
    const Node& node = joined.nodes()[2];
    const auto& layer = std::get<BatchNormLayer>(node.layer);
    EXPECT_TRUE(layer.desc.adds);
    EXPECT_EQ(layer.desc.activation, Activation::relu);
    EXPECT_EQ(layer.drop_path, 0);
    EXPECT_EQ(node.inputs, (std::vector<Value>{x, skip}));
    EXPECT_EQ(node.output, g.output());
    EXPECT_EQ(node.parameters.size(), 4u);
    EXPECT_EQ(node.name, "n");
  }
}

TEST(JoinAdditions, TakesStochasticDepthAlong) {
  Graph g(kInput);
  g.dropout(g.input(), 0.5f);
  const Value x = g.conv(g.input(), "a", conv());
  g.set_output(g.add(g.drop_path(g.batch_norm(x, "n"), 0.25f), g.input()));
  const Graph joined = with_additions(g);
  ASSERT_EQ(kinds(joined), "dropout conv batch_norm");
  const auto& layer = std::get<BatchNormLayer>(joined.nodes()[2].layer);
  EXPECT_EQ(layer.drop_path, 0.25f);
  EXPECT_EQ(layer.drop_path_id, 1u);
  EXPECT_EQ(layer.desc.activation, Activation::identity);
}

// Of two norms the first; the other one's value is there before the sum.
TEST(JoinAdditions, OfTwoNormsOne) {
  Graph g(kInput);
  const Value a = g.batch_norm(g.conv(g.input(), "a", conv()), "n");
  const Value b = g.batch_norm(g.conv(g.input(), "b", conv()), "m");
  g.set_output(g.relu(g.add(a, b)));
  const Graph joined = with_additions(g);
  ASSERT_EQ(kinds(joined), "conv conv batch_norm batch_norm");
  EXPECT_EQ(joined.nodes()[2].name, "m");
  EXPECT_EQ(joined.nodes()[3].name, "n");
  EXPECT_EQ(joined.nodes()[3].inputs[1], b);
}

TEST(JoinAdditions, LeavesWhatDoesNotFit) {
  Graph g(kInput);
  const Value conv_a = g.conv(g.input(), "a", conv());
  const Value read_twice = g.batch_norm(conv_a, "n");
  const Value sum = g.add(read_twice, read_twice);
  const Value active = g.add(g.relu(g.batch_norm(g.conv(sum, "b", conv()), "m")), sum);
  const Value factor = g.add(active, g.batch_norm(g.conv(active, "c", conv()), "k"), 0.5f);
  const Value own = g.add(g.batch_norm(factor, "j"), factor);  // its gradient is added to dx
  g.set_output(g.conv(own, "d", conv()));
  EXPECT_EQ(kinds(with_additions(g)), kinds(fuse_activations(g, true)));
}

/// Which of a graph's means over each image are joined, in order.
std::vector<bool> joined_means(const Graph& graph) {
  std::vector<bool> joined;
  const Graph rewritten = join_means(join_additions(fuse_activations(graph, true)));
  for (const Node& node : rewritten.nodes()) {
    if (std::holds_alternative<GlobalAveragePoolLayer>(node.layer)) {
      joined.push_back(is_joined(node.layer));
    }
  }
  return joined;
}

TEST(JoinMeans, ToTheNormWhoseOutputTheyReadFirst) {
  Graph g(kInput);
  const Value x = g.activation(g.batch_norm(g.input(), "n"), Activation::silu);
  const Value y = g.scale(x, g.global_average_pool(x));
  const Value z = g.batch_norm(y, "m");
  const Value scaled = g.scale(z, g.global_average_pool(z));
  g.set_output(g.conv(scaled, "head", conv()));
  EXPECT_EQ(joined_means(g), (std::vector<bool>{true, true}));
}

TEST(JoinMeans, NotWhereOthersReadFirstOrNobodyElseDoesOrSomethingIsAdded) {
  Graph g(kInput);
  const Value x = g.batch_norm(g.input(), "n");
  const Value a = g.conv(x, "a", conv());  // its gradient comes after the mean's
  Value y = g.scale(a, g.global_average_pool(x));
  y = g.scale(y, g.global_average_pool(g.batch_norm(y, "m")));
  const Value sum = g.add(g.batch_norm(g.conv(y, "b", conv()), "k"), y);
  y = g.scale(sum, g.global_average_pool(sum));
  g.set_output(g.scale(y, g.global_average_pool(y)));  // of no norm
  EXPECT_EQ(joined_means(g), std::vector<bool>(4, false));
}

/// The channels that each value is stored in.
std::vector<int> stored(const Graph& graph) {
  std::vector<int> channels;
  for (int i = 0; i < graph.values(); ++i) channels.push_back(graph.stored_channels(Value{i}));
  return channels;
}

/// Which of a graph's max poolings are joined, in order.
std::vector<bool> joined_pools(const Graph& graph) {
  std::vector<bool> joined;
  const Graph rewritten = join_max_pools(fuse_activations(graph, true));
  for (const Node& node : rewritten.nodes()) {
    const auto* pool = std::get_if<MaxPoolLayer>(&node.layer);
    if (pool != nullptr) joined.push_back(pool->joined);
  }
  return joined;
}

TEST(JoinMaxPools, ToTheConvolutionWhoseOutputTheyReadFirst) {
  Graph g(kInput);
  const Value skip = g.relu(g.conv(g.input(), "a", conv()));
  const Value down = g.max_pool(skip);
  const Value deep = g.activation(g.conv(down, "b", conv()), Activation::relu6);
  const Value up = g.upsample(g.max_pool(deep), kInput.h, kInput.w);
  g.set_output(g.concat({up, skip}));
  EXPECT_EQ(joined_pools(g), (std::vector<bool>{true, true}));
}

TEST(JoinMaxPools, NotWhereOthersReadFirst) {
  Graph g(kInput);
  const Value a = g.relu(g.conv(g.input(), "a", conv()));
  const Value b = g.conv(a, "b", conv());  // its gradient comes after the pooling's
  g.set_output(g.add(g.upsample(g.max_pool(a), b), b));
  EXPECT_EQ(joined_pools(g), std::vector<bool>{false});
}

TEST(JoinMaxPools, NotWhereThereIsNoActivationOrNoConvolutionOrWindowsOverlap) {
  Graph g(kInput);
  Value x = g.max_pool(g.conv(g.input(), "bare", conv()));
  x = g.max_pool(g.relu(g.batch_norm(x, "norm")));
  const PoolDesc overlapping{
      .kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2, .padding = Padding::all(1)};
  x = g.max_pool(g.relu(g.conv(x, "a", conv())), overlapping);
  g.set_output(x);
  EXPECT_EQ(joined_pools(g), (std::vector<bool>{false, false, false}));
}

TEST(PadChannels, WidensTheInputAndTheScores) {
  Graph g({1, 8, 8, 3});
  ConvLayer head = conv();
  head.out_channels = 19;
  ConvLayer wide = conv();
  wide.out_channels = 16;
  const Value x = g.conv(g.input(), "a", wide);
  g.set_output(g.upsample(g.conv(x, "head", head), 16, 16, true));
  EXPECT_EQ(stored(g), (std::vector<int>{3, 16, 19, 19}));
  const Graph padded = pad_channels(g);
  EXPECT_EQ(stored(padded), (std::vector<int>{8, 16, 24, 19}));
  EXPECT_EQ(stored(pad_channels(g, 4)), (std::vector<int>{4, 16, 20, 19}));
  for (int i = 0; i < g.values(); ++i) EXPECT_EQ(padded.shape(Value{i}), g.shape(Value{i}));
  EXPECT_EQ(kinds(padded), kinds(g));
  EXPECT_EQ(padded.parameters()[0].shape, g.parameters()[0].shape);
  EXPECT_EQ(padded.macs(), g.macs());
  EXPECT_EQ(stored(padded.with_nodes(padded.nodes(), padded.output())), stored(padded));
}

TEST(PadChannels, LeavesWhatOthersTouch) {
  ConvLayer grouped = conv();
  grouped.groups = 2;
  Graph g(kInput);
  const Value norm = g.batch_norm(g.input(), "n");  // reads the input
  const Value a = g.conv(norm, "a", grouped);       // by groups
  const Value b = g.conv(a, "b", grouped);          //
  const Value c = g.conv(b, "c", conv());           // read by the concatenation
  const Value d = g.relu(g.conv(c, "d", conv()));   // with an activation
  const Value e = g.conv(d, "e", conv());           // read by the pool as well
  g.max_pool(e);
  g.conv(e, "f", conv());  // read by nobody
  g.set_output(g.concat({c, d}));
  const Graph padded = pad_channels(fuse_activations(g, true));
  for (int i = 0; i < g.values(); ++i) {
    const bool last = i == g.values() - 2;
    EXPECT_EQ(padded.stored_channels(Value{i}), last ? 8 : g.shape(Value{i}).c) << i;
  }
}

/// The branches of each folded convolution: by their steps' kernels.
std::vector<std::vector<std::vector<int>>> folded_kernels(const Graph& graph) {
  std::vector<std::vector<std::vector<int>>> found;
  for (const Node& node : graph.nodes()) {
    const auto* conv = std::get_if<ConvLayer>(&node.layer);
    if (conv == nullptr || conv->branches.empty()) continue;
    auto& branches = found.emplace_back();
    for (const ConvBranch& branch : conv->branches) {
      auto& kernels = branches.emplace_back();
      for (const ConvStep& step : branch) kernels.push_back(step.kernel);
    }
  }
  return found;
}

TEST(FoldBranches, WhereTheyAddUpToAConvolution) {
  using Kernels = std::vector<std::vector<std::vector<int>>>;
  const Graph graph = macadam::testing::small_branches({2, 9, 12, 3}, 4);
  const Graph folded = for_inference(graph);
  EXPECT_EQ(folded_kernels(folded),
            (Kernels{{{3}, {1}, {0}}, {{3, 1}, {3, 1}, {1, 1}}, {{3}, {1}}}));
  EXPECT_EQ(kinds(folded),
            "conv silu conv silu conv silu conv silu conv batch_norm conv add silu silu add conv "
            "upsample");
  EXPECT_LT(folded.macs(), graph.macs());
  const auto& strided = std::get<ConvLayer>(folded.nodes()[4].layer);
  EXPECT_EQ(strided.stride, 2);
  EXPECT_EQ(strided.kernel_h, 3);
  EXPECT_EQ(strided.padding, Padding::all(1));
  // Weight, bias, norm of the first; the second has no norm behind its first convolution.
  EXPECT_EQ(folded.nodes()[4].parameters.size(), (2u + 1 + 4) + (2 + 4 + 2 + 4) + (1 + 1 + 4));
}

TEST(FoldBranches, NotOfSeveralSourcesStridesOrReaders) {
  const auto count = [](const std::function<void(Graph&)>& build) {
    Graph g(kInput);
    build(g);
    return folded_kernels(fold_branches(g)).size();
  };
  const ConvLayer same = conv();
  ConvLayer point = same, grouped = same, dilated = same, large = same;
  point.kernel_h = point.kernel_w = 1;
  point.padding = {};
  grouped.groups = kInput.c;
  grouped.out_channels = kInput.c;
  dilated.dilation = 2;
  dilated.padding = Padding::all(2);
  large.kernel_h = large.kernel_w = 5;
  large.padding = Padding::all(2);
  const auto pair = [](const ConvLayer& a, const ConvLayer& b) {
    return [=](Graph& g) {
      g.set_output(g.add(g.conv(g.input(), "a", a), g.conv(g.input(), "b", b)));
    };
  };
  EXPECT_EQ(count(pair(same, point)), 1u);
  EXPECT_EQ(count(pair(large, point)), 1u);
  EXPECT_EQ(count(pair(large, same)), 0u);
  EXPECT_EQ(count(pair(dilated, same)), 0u);
  EXPECT_EQ(count([&](Graph& g) {
              const Value a = g.conv(g.input(), "a", grouped);
              ConvLayer b = point;
              b.out_channels = kInput.c;
              g.set_output(g.add(a, g.conv(g.input(), "b", b)));
            }),
            0u);
  EXPECT_EQ(count([&](Graph& g) {  // another source
              const Value x = g.relu(g.input());
              g.set_output(g.add(g.conv(x, "a", same), g.conv(g.input(), "b", same)));
            }),
            0u);
  EXPECT_EQ(count([&](Graph& g) {  // an output, and a factor
              const Value a = g.conv(g.input(), "a", same), b = g.conv(g.input(), "b", same);
              g.add(a, b);
              g.set_output(b);
            }),
            0u);
  EXPECT_EQ(count([&](Graph& g) {
              const Value a = g.conv(g.input(), "a", same);
              g.set_output(g.add(a, g.conv(g.input(), "b", same), 0.5f));
            }),
            0u);
  EXPECT_EQ(count([&](Graph& g) {  // the value itself has no weights
              ConvLayer as_wide = same;
              as_wide.out_channels = kInput.c;
              g.set_output(g.add(g.conv(g.input(), "a", as_wide), g.input()));
            }),
            0u);
}

TEST(FreezeBatchNorms, ThoseOfTheEncoderAlone) {
  Graph g(kInput);
  const Value a = g.relu(g.batch_norm(g.conv(g.input(), "part.a", conv()), "part.a_norm"));
  g.set_output(g.batch_norm(g.conv(a, "rest.b", conv()), "rest.b_norm"));
  g.mark_encoder(std::array<std::string_view, 2>{"none.", "part."});
  const Graph frozen = fuse_activations(freeze_batch_norms(g, true), true);
  ASSERT_EQ(kinds(frozen), "conv batch_norm conv batch_norm");
  const auto& first = std::get<BatchNormLayer>(frozen.nodes()[1].layer).desc;
  EXPECT_TRUE(first.frozen);
  EXPECT_EQ(first.activation, Activation::relu);
  EXPECT_FALSE(std::get<BatchNormLayer>(frozen.nodes()[3].layer).desc.frozen);
  const Graph all = freeze_batch_norms(g, false);
  EXPECT_TRUE(std::get<BatchNormLayer>(all.nodes()[4].layer).desc.frozen);
  EXPECT_FALSE(std::get<BatchNormLayer>(g.nodes()[1].layer).desc.frozen);
}

TEST(RemoveDropout, ReadersSeeWhatItRead) {
  Graph g(kInput);
  const Value a = g.relu(g.conv(g.input(), "a", conv()));
  const Value b = g.dropout(g.dropout(a, 0.5f), 0.25f);
  g.set_output(g.dropout(g.add(b, a), 0.1f));
  const Graph plain = remove_dropout(g);
  ASSERT_EQ(kinds(plain), "conv relu add");
  EXPECT_EQ(plain.nodes()[2].inputs, (std::vector<Value>{a, a}));
  EXPECT_EQ(plain.output(), plain.nodes()[2].output);
}

}  // namespace
