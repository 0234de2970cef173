// classification_models' ResNet34: pre-activation residual units (He et al., "Identity Mappings in
// Deep Residual Networks", 2016) on raw bytes, which a batch norm without a factor scales.

#include <fmt/format.h>

#include <array>

#include "base/to_size.h"
#include "models/keras/backbone.h"

namespace macadam {

namespace {

constexpr BatchNormDesc kNorm{.eps = 2e-5f, .momentum = 0.01f};
constexpr Normalization kRawBytes{{0, 0, 0}, {1, 1, 1}, 255, false};

Value norm_relu(Graph& g, Value x, const std::string& name) {
  return g.relu(g.batch_norm(x, name, kNorm));
}

/// The taps are the first activations of stages 2 to 4.
Features resnet34(Graph& g) {
  constexpr std::array<int, 4> kBlocks{3, 4, 6, 3};
  const std::string prefix(kBackbone);
  Features features{g.input()};
  Value x = g.batch_norm(g.input(), prefix + "bn_data", kNorm, false);
  x = norm_relu(g, g.conv(x, prefix + "conv0", plain_conv(64, 7, 2)), prefix + "bn0");
  features.push_back(x);
  x = g.max_pool(x, {3, 3, 2, 2, Padding::all(1)});
  for (int stage = 0; stage < 4; ++stage) {
    const int channels = 64 << stage;
    for (int block = 0; block < kBlocks[to_size(stage)]; ++block) {
      const std::string name = fmt::format("{}stage{}_unit{}_", prefix, stage + 1, block + 1);
      const int stride = stage > 0 && block == 0 ? 2 : 1;
      const Value y = norm_relu(g, x, name + "bn1");
      if (stage > 0 && block == 0) features.push_back(y);
      // The first unit's shortcut is taken after the activation, without a batch norm.
      const Value shortcut =
          block == 0 ? g.conv(y, name + "sc", plain_conv(channels, 1, stride)) : x;
      Value z = g.conv(y, name + "conv1", plain_conv(channels, 3, stride));
      z = g.conv(norm_relu(g, z, name + "bn2"), name + "conv2", plain_conv(channels, 3));
      x = g.add(z, shortcut);
    }
  }
  features.push_back(norm_relu(g, x, prefix + "bn1"));
  return features;
}

}  // namespace

std::vector<Backbone> resnet_backbones() {
  return {{.name = "resnet34",
           .summary = "segmentation_models (Keras), pre-activation ResNet34",
           .normalization = kRawBytes,
           .features = [](Graph& g, const NetworkSpec&) { return resnet34(g); }}};
}

}  // namespace macadam
