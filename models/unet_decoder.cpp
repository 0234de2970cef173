#include "models/unet_decoder.h"

#include <fmt/format.h>

namespace macadam {

namespace {

Value conv_norm_relu(Graph& g, Value x, const std::string& name, const UnetDecoderStyle& style,
                     int channels) {
  x = g.conv(x, name + style.conv_suffix, plain_conv(channels, 3));
  return g.relu(g.batch_norm(x, name + style.norm_suffix, style.norm));
}

}  // namespace

const UnetDecoderStyle& smp_decoder() {
  static const UnetDecoderStyle style{
      "decoder.blocks.", {".conv1", ".conv2"}, ".0", ".1", "segmentation_head.0", {}};
  return style;
}

const UnetDecoderStyle& keras_decoder() {
  static const UnetDecoderStyle style{
      "decoder.decoder_stage",          {"a", "b"}, "_conv", "_bn", "head.final_conv",
      {.eps = 1e-3f, .momentum = 0.01f}};
  return style;
}

Value unet_decoder(Graph& g, const Features& features, const UnetDecoderStyle& style, int classes) {
  constexpr std::array<int, 5> kChannels{256, 128, 64, 32, 16};
  require(features.size() == kChannels.size() + 1, "an image and five scales");
  Value x = features.back();
  for (size_t i = 0; i < kChannels.size(); ++i) {
    const Value next = features[kChannels.size() - 1 - i];
    x = g.upsample(x, next);
    if (i + 1 < kChannels.size()) x = g.concat({x, next});
    for (const std::string& conv : style.convs) {
      x = conv_norm_relu(g, x, fmt::format("{}{}{}", style.block, i, conv), style, kChannels[i]);
    }
  }
  return g.conv(x, style.head, score_conv(classes, 3));
}

Value unet_center(Graph& g, Value x) {
  const int channels = g.shape(x).c;
  x = conv_norm_relu(g, x, "decoder.center.0", smp_decoder(), channels);
  return conv_norm_relu(g, x, "decoder.center.1", smp_decoder(), channels);
}

}  // namespace macadam
