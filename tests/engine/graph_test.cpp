#include "engine/graph/graph.h"

#include <gtest/gtest.h>

using namespace macadam;

namespace {

constexpr Shape kInput{2, 16, 24, 3};

ConvLayer conv(int channels, int kernel = 3, int padding = 1) {
  ConvLayer layer;
  layer.out_channels = channels;
  layer.kernel_h = layer.kernel_w = kernel;
  layer.padding = Padding::all(padding);
  return layer;
}

TEST(Graph, InfersShapes) {
  Graph g(kInput);
  EXPECT_EQ(g.shape(g.input()), kInput);
  const Value a = g.conv(g.input(), "a", conv(8));
  EXPECT_EQ(g.shape(a), (Shape{2, 16, 24, 8}));
  EXPECT_EQ(g.shape(g.relu(a)), g.shape(a));
  EXPECT_EQ(g.shape(g.dropout(a, 0.5f)), g.shape(a));
  EXPECT_EQ(g.shape(g.batch_norm(a, "n")), g.shape(a));
  const Value pooled = g.max_pool(a);
  EXPECT_EQ(g.shape(pooled), (Shape{2, 8, 12, 8}));
  EXPECT_EQ(g.shape(g.average_pool(a, {3, 3, 2, 2, Padding::all(1)})), (Shape{2, 8, 12, 8}));
  EXPECT_EQ(g.shape(g.upsample(pooled, 5, 7)), (Shape{2, 5, 7, 8}));
  EXPECT_EQ(g.shape(g.concat({a, g.input(), a})), (Shape{2, 16, 24, 19}));
  EXPECT_EQ(g.shape(g.add(a, a)), g.shape(a));
  const Value agreement = g.dot(a, a);
  EXPECT_EQ(g.shape(agreement), (Shape{2, 16, 24, 1}));
  EXPECT_EQ(g.shape(g.multiply(a, agreement)), g.shape(a));
  EXPECT_EQ(g.shape(g.multiply(a, a)), g.shape(a));
  EXPECT_EQ(g.shape(g.upsample_corners(pooled, g.input())), g.shape(a));
  EXPECT_EQ(g.shape(g.grid_average_pool(a, 3, 2)), (Shape{2, 3, 2, 8}));
  EXPECT_EQ(g.shape(g.grid_average_pool(a, 3)), (Shape{2, 3, 4, 8})) << "4.5, halves to even";
  EXPECT_EQ(g.shape(g.grid_average_pool(a, 5)), (Shape{2, 5, 8, 8})) << "7.5, halves to even";

  ConvLayer strided = conv(4);
  strided.stride = 2;
  strided.padding = {0, 1, 0, 1};
  EXPECT_EQ(g.shape(g.conv(g.input(), "strided", strided)), (Shape{2, 8, 12, 4}));
  ConvLayer dilated = conv(4, 3, 0);
  dilated.dilation = 3;
  EXPECT_EQ(g.shape(g.conv(g.input(), "dilated", dilated)), (Shape{2, 10, 18, 4}));
  EXPECT_EQ(g.values(), static_cast<int>(g.nodes().size()) + 1);
}

TEST(Graph, NamesAndShapesParameters) {
  Graph g(kInput);
  ConvLayer plain = conv(8, 1, 0);
  plain.bias = false;
  const Value a = g.conv(g.input(), "enc.conv", conv(6));
  const Value b = g.conv(a, "enc.proj", plain);
  g.batch_norm(b, "enc.norm");
  ConvLayer grouped = conv(8);
  grouped.groups = 4;
  g.conv(b, "grouped", grouped);

  std::vector<std::string> names;
  int64_t trained = 0;
  for (const ParameterSpec& p : g.parameters()) {
    names.push_back(p.name);
    if (p.trainable()) trained += p.shape.elements();
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{"enc.conv.weight", "enc.conv.bias", "enc.proj.weight",
                                      "enc.norm.weight", "enc.norm.bias", "enc.norm.running_mean",
                                      "enc.norm.running_var", "grouped.weight", "grouped.bias"}));
  EXPECT_EQ(g.parameters()[0].shape, (Shape{6, 3, 3, 3})) << "K, kh, kw, C/g";
  EXPECT_EQ(g.parameters()[2].file_shape(), (std::vector<int64_t>{8, 6, 1, 1}));
  EXPECT_EQ(g.parameters()[7].file_shape(), (std::vector<int64_t>{8, 2, 3, 3}));
  EXPECT_EQ(g.parameters()[8].file_shape(), (std::vector<int64_t>{8}));
  EXPECT_EQ(g.parameter_count(), trained);
  EXPECT_EQ(trained, 6 * 27 + 6 + 48 + 16 + 8 * 2 * 9 + 8);
}

TEST(Graph, CountsMultiplyAdds) {
  Graph g(kInput);
  ConvLayer grouped = conv(6);
  grouped.groups = 3;
  grouped.stride = 2;
  g.conv(g.conv(g.input(), "a", conv(9)), "b", grouped);
  EXPECT_EQ(g.macs(), 2 * 16 * 24 * 9 * 27 + 2 * 8 * 12 * 6 * (9 * 3));
}

/// A convolution of K x K at stride 2, without padding.
ConvLayer strided_conv(int kernel) {
  ConvLayer layer = conv(4, kernel, 0);
  layer.stride = 2;
  return layer;
}

// What PyTorch gives. Of 4 pixels, a third window would begin in the padding behind them.
TEST(Graph, WindowsInCeilMode) {
  struct Case {
    int input, kernel, stride, before, after, floor, ceil;
  };
  for (const Case& c : std::initializer_list<Case>{{8, 2, 2, 0, 0, 4, 4},
                                                   {9, 2, 2, 0, 0, 4, 5},
                                                   {9, 3, 2, 1, 1, 5, 5},
                                                   {8, 3, 2, 1, 1, 4, 5},
                                                   {7, 3, 3, 0, 1, 2, 3},
                                                   {1, 2, 2, 0, 0, 0, 1},
                                                   {4, 2, 3, 1, 1, 2, 2},
                                                   {2, 2, 2, 1, 1, 2, 2}}) {
    PoolDesc desc{.kernel_h = c.kernel,
                  .kernel_w = c.kernel,
                  .stride_h = c.stride,
                  .stride_w = c.stride,
                  .padding = {c.before, c.after, c.before, c.after}};
    const Shape input{1, c.input, c.input, 3};
    EXPECT_EQ(desc.output(input), (Shape{1, c.floor, c.floor, 3})) << c.input;
    desc.ceil_mode = true;
    EXPECT_EQ(desc.output(input), (Shape{1, c.ceil, c.ceil, 3})) << c.input;
  }
}

TEST(Graph, RefusesImagesThatDoNotFit) {
  Graph g({1, 4, 4, 3});
  const Value half = g.max_pool(g.input());
  EXPECT_THROW(g.conv(g.input(), "big", conv(4, 5, 0)), InputError);
  EXPECT_THROW(g.max_pool(g.input(), {5, 5, 1, 1, {}}), InputError);
  EXPECT_THROW(g.average_pool(g.input(), {5, 5, 1, 1, {}}), InputError);
  PoolDesc strided{.kernel_h = 5, .kernel_w = 5};  // a stride's rounding makes no window
  EXPECT_THROW(g.max_pool(g.input(), strided), InputError);
  EXPECT_THROW(g.conv(g.max_pool(half), "even", strided_conv(2)), InputError);
  strided.ceil_mode = true;
  EXPECT_EQ(g.shape(g.max_pool(g.input(), strided)), (Shape{1, 1, 1, 3}));
  EXPECT_THROW(g.concat({g.input(), half}), InputError);
  EXPECT_THROW(g.add(g.input(), half), InputError);
  EXPECT_THROW(g.multiply(g.input(), half), InputError);
  EXPECT_THROW(g.multiply(g.dot(half, half), half), InputError) << "a factor is the second";
  EXPECT_THROW(g.dot(g.input(), half), InputError);
  try {
    g.conv(half, "enc.big", conv(4, 7, 0));
    FAIL() << "accepted";
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("enc.big"), std::string::npos) << message;
    EXPECT_NE(message.find("1x2x2x3"), std::string::npos) << message;
  }
}

TEST(Graph, RefusesWhatIsAProgrammingError) {
  Graph g(kInput);
  const Value a = g.conv(g.input(), "a", conv(4));
  EXPECT_THROW(g.conv(a, "a", conv(4)), std::logic_error) << "the name twice";
  ConvLayer grouped = conv(4);
  grouped.groups = 3;
  EXPECT_THROW(g.conv(a, "b", grouped), std::logic_error);
  EXPECT_THROW(g.dropout(a, 1.0f), std::logic_error);
  EXPECT_THROW(g.dropout(a, -0.1f), std::logic_error);
  EXPECT_THROW(g.concat({}), std::logic_error);
  const PoolDesc apart{.padding = {0, 2, 0, 0}};  // a window that lies in the padding alone
  EXPECT_THROW(g.max_pool(a, apart), std::logic_error);
  EXPECT_THROW(g.average_pool(a, apart), std::logic_error);
  EXPECT_THROW(g.average_pool(a, {.stride_h = 0}), std::logic_error);
  EXPECT_THROW(g.max_pool(a, {.kernel_h = 16, .kernel_w = 16}), std::logic_error);
  EXPECT_THROW(g.max_pool(a, {.grid_h = 2, .grid_w = 2}), std::logic_error);
  EXPECT_THROW(g.average_pool(a, {.grid_h = 2, .grid_w = 2}), std::logic_error);
  EXPECT_THROW(g.grid_average_pool(a, 0), std::logic_error);
  EXPECT_THROW(g.grid_average_pool(a, 2, 0), std::logic_error);
  EXPECT_THROW(g.shape(Value{99}), std::logic_error);
  EXPECT_THROW(g.relu(Value{}), std::logic_error);
  EXPECT_THROW(Graph({1, 0, 4, 3}), std::logic_error);
}

}  // namespace
