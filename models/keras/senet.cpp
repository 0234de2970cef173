// classification_models' SE-ResNet50 (Hu et al., 2018), caffe's layout: a block's stride lies on
// its first 1x1 convolution. The library names none of its layers; ours are called as its ResNet's.

#include <fmt/format.h>

#include <array>

#include "base/to_size.h"
#include "models/keras/backbone.h"

namespace macadam {

namespace {

Value numbered_conv(Graph& g, Value x, const std::string& name, const std::string& number,
                    const ConvLayer& conv) {
  constexpr BatchNormDesc kNorm{.eps = 1e-5f, .momentum = 0.01f};
  return g.batch_norm(g.conv(x, name + "conv" + number, conv), name + "bn" + number, kNorm);
}

/// The factors of x's channels.
Value gates(Graph& g, Value x, const std::string& name) {
  constexpr int kReduction = 16;
  ConvLayer conv = plain_conv(g.shape(x).c / kReduction, 1);
  conv.bias = true;
  const Value squeezed = g.relu(g.conv(g.global_average_pool(x), name + "se_reduce", conv));
  conv.out_channels = g.shape(x).c;
  return g.activation(g.conv(squeezed, name + "se_expand", conv), Activation::sigmoid);
}

Value bottleneck(Graph& g, Value x, const std::string& name, int channels, int stride) {
  Value y = g.relu(numbered_conv(g, x, name, "1", plain_conv(channels / 4, 1, stride)));
  y = g.relu(numbered_conv(g, y, name, "2", plain_conv(channels / 4, 3)));
  y = numbered_conv(g, y, name, "3", plain_conv(channels, 1));
  // Before the gates, as the library makes its layers.
  const Value shortcut =
      stride != 1 || g.shape(x).c != channels
          ? numbered_conv(g, x, name + "sc_", "", plain_conv(channels, 1, stride))
          : x;
  return g.relu(g.add(g.scale(y, gates(g, y, name)), shortcut));
}

/// The taps are the first activation and the outputs of the stages.
Features seresnet50(Graph& g) {
  constexpr std::array<int, 4> kBlocks{3, 4, 6, 3};
  const std::string prefix(kBackbone);
  Features features{g.input()};
  Value x = g.relu(numbered_conv(g, g.input(), prefix, "0", plain_conv(64, 7, 2)));
  features.push_back(x);
  // Zeros around it win nowhere: it has none below.
  x = g.max_pool(x, {3, 3, 2, 2, Padding::all(1)});
  for (int stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < kBlocks[to_size(stage)]; ++block) {
      x = bottleneck(g, x, fmt::format("{}stage{}_unit{}_", prefix, stage + 1, block + 1),
                     256 << stage, stage > 0 && block == 0 ? 2 : 1);
    }
    features.push_back(x);
  }
  return features;
}

}  // namespace

std::vector<Backbone> senet_backbones() {
  return {{.name = "seresnet50",
           .summary = "segmentation_models (Keras), SE-ResNet50",
           .normalization = kImageNet,
           .features = [](Graph& g, const NetworkSpec&) { return seresnet50(g); }}};
}

}  // namespace macadam
