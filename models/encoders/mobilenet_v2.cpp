#include "models/encoders/mobilenet_v2.h"

#include <fmt/format.h>

#include <array>

namespace macadam {

namespace {

Value conv_norm_relu6(Graph& g, Value x, const std::string& name, const ConvLayer& layer) {
  return g.activation(g.batch_norm(g.conv(x, name + ".0", layer), name + ".1"), Activation::relu6);
}

Value inverted_residual(Graph& g, Value x, const std::string& name, int out, int stride,
                        int expansion, bool expand) {
  const int in = g.shape(x).c, hidden = in * expansion;
  Value y = x;
  int index = 0;
  if (expand) {
    y = conv_norm_relu6(g, y, fmt::format("{}.conv.{}", name, index++), plain_conv(hidden, 1));
  }
  ConvLayer depthwise = plain_conv(hidden, 3, stride);
  depthwise.groups = hidden;
  y = conv_norm_relu6(g, y, fmt::format("{}.conv.{}", name, index++), depthwise);
  y = g.conv(y, fmt::format("{}.conv.{}", name, index++), plain_conv(out, 1));
  y = g.batch_norm(y, fmt::format("{}.conv.{}", name, index));
  return stride == 1 && in == out ? g.add(x, y) : y;
}

}  // namespace

Features mobilenet_v2(Graph& g, Value image, const std::string& prefix, bool expand_first) {
  struct Stage {
    int expansion, channels, blocks, stride;
  };
  constexpr std::array<Stage, 7> kStages{{{1, 16, 1, 1},
                                          {6, 24, 2, 2},
                                          {6, 32, 3, 2},
                                          {6, 64, 4, 2},
                                          {6, 96, 3, 1},
                                          {6, 160, 3, 2},
                                          {6, 320, 1, 1}}};
  Features features{image};
  Value x = conv_norm_relu6(g, image, prefix + "features.0", plain_conv(32, 3, 2));
  int index = 1;
  for (const Stage& stage : kStages) {
    // A tap is the last value before the size halves.
    if (stage.stride == 2) features.push_back(x);
    for (int block = 0; block < stage.blocks; ++block, ++index) {
      x = inverted_residual(g, x, fmt::format("{}features.{}", prefix, index), stage.channels,
                            block == 0 ? stage.stride : 1, stage.expansion,
                            stage.expansion > 1 || expand_first);
    }
  }
  features.push_back(conv_norm_relu6(g, x, prefix + "features.18", plain_conv(1280, 1)));
  return features;
}

}  // namespace macadam
