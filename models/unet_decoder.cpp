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
  static const UnetDecoderStyle style{.centers = {"decoder.center.0", "decoder.center.1"},
                                      .block = "decoder.blocks.",
                                      .convs = {".conv1", ".conv2"},
                                      .conv_suffix = ".0",
                                      .norm_suffix = ".1",
                                      .head = "segmentation_head.0",
                                      .norm = {}};
  return style;
}

const UnetDecoderStyle& keras_decoder() {
  static const UnetDecoderStyle style{.centers = {"decoder.center_block1", "decoder.center_block2"},
                                      .block = "decoder.decoder_stage",
                                      .convs = {"a", "b"},
                                      .conv_suffix = "_conv",
                                      .norm_suffix = "_bn",
                                      .head = "head.final_conv",
                                      .norm = {.eps = 1e-3f, .momentum = 0.01f}};
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

Value unet_center(Graph& g, Value x, const UnetDecoderStyle& style) {
  const int channels = g.shape(x).c;
  for (const std::string& conv : style.centers) x = conv_norm_relu(g, x, conv, style, channels);
  return x;
}

}  // namespace macadam
