// keras-applications' DenseNet121 (Huang et al., 2017): each layer reads the outputs of all layers
// before it in its block.

#include <fmt/format.h>

#include <array>

#include "models/keras/backbone.h"

namespace macadam {

namespace {

Value norm_relu(Graph& g, Value x, const std::string& name) {
  constexpr BatchNormDesc kNorm{.eps = 1.001e-5f, .momentum = 0.01f};
  return g.relu(g.batch_norm(x, name, kNorm));
}

/// The taps are the first activation, the 1x1 convolutions of the transitions (128, 256 and 512
/// channels) before their poolings, and the last activation.
Features densenet121(Graph& g) {
  constexpr std::array<int, 4> kLayers{6, 12, 24, 16};
  constexpr int kGrowth = 32;
  const std::string prefix(kBackbone);
  Features features{g.input()};
  Value x = g.conv(g.input(), prefix + "conv1_conv", plain_conv(64, 7, 2));
  x = norm_relu(g, x, prefix + "conv1_bn");
  features.push_back(x);
  x = g.max_pool(x, {3, 3, 2, 2, Padding::all(1)});
  for (size_t i = 0; i < kLayers.size(); ++i) {
    const size_t stage = i + 2;  // Keras counts the stem
    for (int layer = 1; layer <= kLayers[i]; ++layer) {
      const std::string name = fmt::format("{}conv{}_block{}_", prefix, stage, layer);
      Value y = norm_relu(g, x, name + "0_bn");
      y = norm_relu(g, g.conv(y, name + "1_conv", plain_conv(4 * kGrowth, 1)), name + "1_bn");
      x = g.concat({x, g.conv(y, name + "2_conv", plain_conv(kGrowth, 3))});
    }
    if (i + 1 == kLayers.size()) break;
    const std::string name = fmt::format("{}pool{}_", prefix, stage);
    x = norm_relu(g, x, name + "bn");
    x = g.conv(x, name + "conv", plain_conv(g.shape(x).c / 2, 1));
    features.push_back(x);
    x = g.average_pool(x, {});
  }
  features.push_back(norm_relu(g, x, prefix + "bn"));
  return features;
}

}  // namespace

std::vector<Backbone> densenet_backbones() {
  return {{.name = "densenet121",
           .summary = "segmentation_models (Keras), DenseNet121",
           .normalization = kImageNet,
           .features = [](Graph& g, const NetworkSpec&) { return densenet121(g); }}};
}

}  // namespace macadam
