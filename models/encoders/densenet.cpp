// DenseNet-121 (Huang et al., 2017), named as torchvision's densenet121.

#include <fmt/format.h>

#include <array>

#include "models/encoders/encoder.h"

namespace macadam {

namespace {

constexpr int kGrowth = 32;     // channels that each layer adds
constexpr int kBottleneck = 4;  // a layer's first convolution has so many times as many
constexpr std::array<int, 4> kLayers{6, 12, 24, 16};

constexpr std::array<NetworkOption, 1> kOptions{{
    {"taps", "norm",
     "what the decoder gets of a block: norm (segmentation_models.pytorch's densenet121): behind "
     "batch norm and ReLU, the last without ReLU; concat (its tu-densenet121): the block's own "
     "channels, the last behind both"},
}};

bool taps_norms(const NetworkSpec& spec) {
  constexpr std::array<std::string_view, 2> kTaps{"norm", "concat"};
  return choice_option(spec, kOptions[0], kTaps) == 0;
}

Value norm_relu(Graph& g, Value x, const std::string& name) {
  return g.relu(g.batch_norm(x, name));
}

/// Batch norm, ReLU and a 1x1 convolution, and the same with a 3x3 convolution, whose channels are
/// put behind those of `x`. The concatenations of a block lie in each other: a plan gives all of
/// them one tensor.
Value dense_layer(Graph& g, Value x, const std::string& name) {
  Value y = norm_relu(g, x, name + ".norm1");
  y = g.conv(y, name + ".conv1", plain_conv(kBottleneck * kGrowth, 1));
  y = norm_relu(g, y, name + ".norm2");
  y = g.conv(y, name + ".conv2", plain_conv(kGrowth, 3));
  return g.concat({x, y});
}

/// The taps are the image, the first ReLU (64 channels at /2) and what each block gives (256, 512,
/// 1024 and 1024).
Features densenet121(Graph& g, Value image, const std::string& prefix, bool tap_norms) {
  const std::string name = prefix + "features.";
  Features features{image};
  Value x = norm_relu(g, g.conv(image, name + "conv0", plain_conv(64, 7, 2)), name + "norm0");
  features.push_back(x);
  x = g.max_pool(x, {.kernel_h = 3, .kernel_w = 3, .padding = Padding::all(1)});
  for (size_t block = 0; block < kLayers.size(); ++block) {
    for (int layer = 0; layer < kLayers[block]; ++layer) {
      x = dense_layer(g, x, fmt::format("{}denseblock{}.denselayer{}", name, block + 1, layer + 1));
    }
    if (block + 1 == kLayers.size()) break;
    if (!tap_norms) features.push_back(x);
    const std::string transition = fmt::format("{}transition{}", name, block + 1);
    x = norm_relu(g, x, transition + ".norm");
    if (tap_norms) features.push_back(x);
    x = g.conv(x, transition + ".conv", plain_conv(g.shape(x).c / 2, 1));
    x = g.average_pool(x, {});
  }
  x = g.batch_norm(x, name + "norm5");
  features.push_back(tap_norms ? x : g.relu(x));
  return features;
}

/// "norm.1" for "norm1" of a dense layer, as the files have it that torchvision offers.
std::optional<std::string> dotted_layer(std::string_view layer) {
  if (layer.find("denselayer") == layer.npos) return std::string(layer);
  return fmt::format("{}.{}", layer.substr(0, layer.size() - 1), layer.substr(layer.size() - 1));
}

/// "features_conv0", as timm has it where features are all that is wanted.
std::optional<std::string> timm_layer(std::string_view layer) {
  constexpr std::string_view kFeatures = "features.";
  return fmt::format("features_{}", layer.substr(kFeatures.size()));
}

}  // namespace

std::vector<Encoder> densenet_encoders() {
  return {{.name = "densenet121",
           .summary = "DenseNet-121 encoder",
           .options = kOptions,
           .features =
               [](Graph& g, Value image, const std::string& prefix, const NetworkSpec& spec) {
                 return densenet121(g, image, prefix, taps_norms(spec));
               },
           .names = {own_names("torchvision and timm"),
                     {.tool = "torchvision (its files)", .layer = dotted_layer},
                     {.tool = "timm (features)",
                      .layer = timm_layer,
                      .options = {{"taps", "concat"}},
                      .unet_prefix = "encoder.model."}}}};
}

}  // namespace macadam
