#include "engine/rewrite.h"

#include <gtest/gtest.h>

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
  const Graph fused = fuse_relu(g);
  ASSERT_EQ(kinds(fused), "conv batch_norm add");
  EXPECT_TRUE(std::get<ConvLayer>(fused.nodes()[0].layer).relu);
  EXPECT_TRUE(std::get<BatchNormLayer>(fused.nodes()[1].layer).desc.relu);
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
  EXPECT_EQ(kinds(fuse_relu(g)), "conv relu add");
}

TEST(FuseRelu, LeavesTheScores) {
  Graph g(kInput);
  const Value a = g.conv(g.input(), "a", conv());
  g.relu(a);
  g.set_output(a);
  EXPECT_EQ(kinds(fuse_relu(g)), "conv relu");
}

TEST(FuseRelu, LeavesWhatHasNoActivation) {
  Graph g(kInput);
  g.set_output(g.relu(g.max_pool(g.relu(g.input()))));
  EXPECT_EQ(kinds(fuse_relu(g)), "relu max_pool relu");
}

TEST(FuseDropout, FoldsBehindAFusedRelu) {
  Graph g(kInput);
  Value x = g.dropout(g.relu(g.conv(g.input(), "a", conv())), 0.25f);
  x = g.dropout(g.relu(g.conv(x, "b", conv())), 0.5f);
  g.set_output(x);
  const Graph fused = fuse_dropout(fuse_relu(g));
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
  EXPECT_EQ(kinds(fuse_dropout(fuse_relu(before))), "conv dropout relu");

  Graph after_norm(kInput);
  after_norm.set_output(
      after_norm.dropout(after_norm.relu(after_norm.batch_norm(after_norm.input(), "n")), 0.5f));
  EXPECT_EQ(kinds(fuse_dropout(fuse_relu(after_norm))), "batch_norm dropout");

  Graph shared(kInput);
  const Value a = shared.relu(shared.conv(shared.input(), "a", conv()));
  shared.set_output(shared.add(shared.dropout(a, 0.5f), a));
  EXPECT_EQ(kinds(fuse_dropout(fuse_relu(shared))), "conv dropout add");

  Graph twice(kInput);
  twice.set_output(
      twice.dropout(twice.dropout(twice.relu(twice.conv(twice.input(), "a", conv())), 0.5f), 0.5f));
  EXPECT_EQ(kinds(fuse_dropout(fuse_relu(twice))), "conv dropout");
}

TEST(FreezeBatchNorms, ThoseOfThePrefixAlone) {
  Graph g(kInput);
  const Value a = g.relu(g.batch_norm(g.conv(g.input(), "part.a", conv()), "part.a_norm"));
  g.set_output(g.batch_norm(g.conv(a, "rest.b", conv()), "rest.b_norm"));
  const Graph frozen = fuse_relu(freeze_batch_norms(g, "part."));
  ASSERT_EQ(kinds(frozen), "conv batch_norm conv batch_norm");
  const auto& first = std::get<BatchNormLayer>(frozen.nodes()[1].layer).desc;
  EXPECT_TRUE(first.frozen);
  EXPECT_TRUE(first.relu);
  EXPECT_FALSE(std::get<BatchNormLayer>(frozen.nodes()[3].layer).desc.frozen);
  const Graph all = freeze_batch_norms(g, "");
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
