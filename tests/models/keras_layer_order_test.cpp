#include "models/keras_layer_order.h"

#include <gtest/gtest.h>

#include "base/to_size.h"
#include "models/encoders/encoder.h"

using namespace macadam;

namespace {

std::vector<std::string> convolutions(const Graph& graph) {
  std::vector<std::string> names;
  for (const size_t node : keras_layer_order(graph)) {
    if (!graph.nodes()[node].name.empty()) names.push_back(graph.nodes()[node].name);
  }
  return names;
}

TEST(KerasLayerOrder, FartherFromTheOutputIsEarlier) {
  Graph g({1, 8, 8, 3});
  const Value x = g.conv(g.input(), "stem", plain_conv(4, 1));
  const Value one = g.conv(x, "alone", plain_conv(4, 1));
  const Value two = g.conv(g.conv(x, "first", plain_conv(4, 1)), "second", plain_conv(4, 1));
  g.set_output(g.conv(g.concat({one, two}), "head", plain_conv(2, 1)));
  EXPECT_EQ(convolutions(g),
            (std::vector<std::string>{"stem", "first", "alone", "second", "head"}));
}

TEST(KerasLayerOrder, EquallyFarIsAsTheInputsOfWhatJoinsThem) {
  Graph g({1, 8, 8, 3});
  const Value made_first = g.conv(g.input(), "made_first", plain_conv(4, 1));
  const Value made_second = g.conv(g.input(), "made_second", plain_conv(4, 1));
  const Value through_skip = g.conv(g.input(), "through_skip", plain_conv(4, 1));
  g.set_output(g.add(g.concat({made_second, made_first}), g.concat({through_skip, made_first})));
  EXPECT_EQ(convolutions(g),
            (std::vector<std::string>{"made_second", "made_first", "through_skip"}));
}

}  // namespace
