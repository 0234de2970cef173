// keras-applications' MobileNet (Howard et al., 2017) and MobileNetV2 (Sandler et al., 2018). Where
// these pad by layers of their own they pad as TensorFlow's "same" does sizes that halve evenly.

#include <fmt/format.h>

#include <array>

#include "models/encoders/mobilenet_v2.h"
#include "models/keras/backbone.h"

namespace macadam {

namespace {

constexpr BatchNormDesc kSlowNorm{.eps = 1e-3f, .momentum = 0.001f};  // MobileNetV2's

Value norm_relu6(Graph& g, Value x, const std::string& name, const BatchNormDesc& norm) {
  return g.activation(g.batch_norm(x, name, norm), Activation::relu6);
}

/// The taps are the activations before each halving; the last is block 13's, 1024 channels.
Features mobilenet(Graph& g) {
  struct Block {
    int channels, stride;
  };
  constexpr std::array<Block, 13> kBlocks{{{64, 1},
                                           {128, 2},
                                           {128, 1},
                                           {256, 2},
                                           {256, 1},
                                           {512, 2},
                                           {512, 1},
                                           {512, 1},
                                           {512, 1},
                                           {512, 1},
                                           {512, 1},
                                           {1024, 2},
                                           {1024, 1}}};
  const auto layer = [&](Value x, const std::string& name, const ConvLayer& conv) {
    x = g.conv(x, fmt::format("{}{}", kBackbone, name), conv);
    return norm_relu6(g, x, fmt::format("{}{}_bn", kBackbone, name), kKerasNorm);
  };
  Features features{g.input()};
  Value x = layer(g.input(), "conv1", same_conv(g.shape(g.input()), 32, 3, 2));
  for (size_t i = 0; i < kBlocks.size(); ++i) {
    if (kBlocks[i].stride == 2) features.push_back(x);
    x = layer(x, fmt::format("conv_dw_{}", i + 1),
              same_depthwise_conv(g.shape(x), 3, kBlocks[i].stride));
    x = layer(x, fmt::format("conv_pw_{}", i + 1), plain_conv(kBlocks[i].channels, 1));
  }
  features.push_back(x);
  return features;
}

/// An inverted residual. `expanded` becomes the value after the expansion, where there is one.
Value inverted_residual(Graph& g, Value x, const std::string& name, int out, int stride,
                        int expansion, Value& expanded) {
  const int in = g.shape(x).c;
  Value y = x;
  if (expansion != 1) {
    y = g.conv(y, name + "expand", plain_conv(in * expansion, 1));
    expanded = y = norm_relu6(g, y, name + "expand_BN", kSlowNorm);
  }
  y = g.conv(y, name + "depthwise", same_depthwise_conv(g.shape(y), 3, stride));
  y = norm_relu6(g, y, name + "depthwise_BN", kSlowNorm);
  y = g.conv(y, name + "project", plain_conv(out, 1));
  y = g.batch_norm(y, name + "project_BN", kSlowNorm);
  return stride == 1 && in == out ? g.add(x, y) : y;
}

/// The taps are the expansions of blocks 1, 3, 6 and 13, which halve the size behind them: 96, 144,
/// 192 and 576 channels; the last has 1280.
Features mobilenet_v2(Graph& g) {
  const std::string prefix(kBackbone);
  Features features{g.input()};
  Value x = g.conv(g.input(), prefix + "Conv1", same_conv(g.shape(g.input()), 32, 3, 2));
  x = norm_relu6(g, x, prefix + "bn_Conv1", kSlowNorm);
  int index = 0;
  for (const MobileNetV2Stage& stage : kMobileNetV2Stages) {
    for (int i = 0; i < stage.blocks; ++i, ++index) {
      const std::string name =
          prefix + (index == 0 ? "expanded_conv_" : fmt::format("block_{}_", index));
      const int stride = i == 0 ? stage.stride : 1;
      Value expanded;
      x = inverted_residual(g, x, name, stage.channels, stride, stage.expansion, expanded);
      if (stride == 2) features.push_back(expanded);
    }
  }
  x = g.conv(x, prefix + "Conv_1", plain_conv(1280, 1));
  features.push_back(norm_relu6(g, x, prefix + "Conv_1_bn", kSlowNorm));
  return features;
}

}  // namespace

std::vector<Backbone> mobilenet_backbones() {
  return {{.name = "mobilenet",
           .summary = "segmentation_models (Keras), MobileNet",
           .normalization = kFromMinusOneToOne,
           .features = [](Graph& g, const NetworkSpec&) { return mobilenet(g); }},
          {.name = "mobilenetv2",
           .summary = "segmentation_models (Keras), MobileNetV2 tapped at its expansions",
           .normalization = kFromMinusOneToOne,
           .features = [](Graph& g, const NetworkSpec&) { return mobilenet_v2(g); }}};
}

}  // namespace macadam
