// MobileNetV2 (Sandler et al., 2018), named as torchvision's mobilenet_v2.

#include "models/encoders/mobilenet_v2.h"

#include <fmt/format.h>

#include <array>

#include "models/encoders/encoder.h"

namespace macadam {

namespace {

constexpr std::array<NetworkOption, 1> kOptions{{
    {"expand_first", "false", "a 1x1 convolution 32 -> 32 before the first depthwise one"},
}};

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

/// The taps are the image, features 1, 3, 6, 13 and 18: 16, 24, 32, 96 and 1280 channels. With
/// `expand_first` the first block begins with a 1x1 convolution 32 -> 32, which torchvision leaves
/// out and other implementations keep.
Features mobilenet_v2(Graph& g, Value image, const std::string& prefix, bool expand_first) {
  Features features{image};
  Value x = conv_norm_relu6(g, image, prefix + "features.0", plain_conv(32, 3, 2));
  int index = 1;
  for (const MobileNetV2Stage& stage : kMobileNetV2Stages) {
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

}  // namespace

std::vector<Encoder> mobilenet_v2_encoders() {
  return {{.name = "mobilenet_v2",
           .summary = "MobileNetV2 encoder",
           .options = kOptions,
           .features =
               [](Graph& g, Value image, const std::string& prefix, const NetworkSpec& spec) {
                 return mobilenet_v2(g, image, prefix, bool_option(spec, kOptions[0]));
               },
           .names = {own_names("torchvision")}}};
}

}  // namespace macadam
