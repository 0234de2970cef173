#include "models/unet_decoder.h"

#include <fmt/format.h>

#include <array>

namespace macadam {

namespace {

Value conv_norm_relu(Graph& g, Value x, const std::string& name, int channels) {
  return g.relu(g.batch_norm(g.conv(x, name + ".0", plain_conv(channels, 3)), name + ".1"));
}

}  // namespace

Value unet_decoder(Graph& g, const Features& features, bool center, int classes) {
  constexpr std::array<int, 5> kChannels{256, 128, 64, 32, 16};
  require(features.size() == kChannels.size() + 1, "an image and five scales");
  Value x = features.back();
  if (center) {
    const int channels = g.shape(x).c;
    x = conv_norm_relu(g, x, "decoder.center.0", channels);
    x = conv_norm_relu(g, x, "decoder.center.1", channels);
  }
  for (size_t i = 0; i < kChannels.size(); ++i) {
    const Value next = features[kChannels.size() - 1 - i];
    x = g.upsample(x, next);
    if (i + 1 < kChannels.size()) x = g.concat({x, next});
    const std::string name = fmt::format("decoder.blocks.{}", i);
    x = conv_norm_relu(g, x, name + ".conv1", kChannels[i]);
    x = conv_norm_relu(g, x, name + ".conv2", kChannels[i]);
  }
  ConvLayer head;
  head.out_channels = classes;
  head.init = Init::glorot_uniform;
  return g.conv(x, "segmentation_head.0", head);
}

}  // namespace macadam
