// MobileNetV1 (Howard et al., 2017), named as segmentation_models.pytorch names timm's:
// "model.blocks.1.0.conv_dw".

#include <fmt/format.h>

#include <array>

#include "models/encoders/encoder.h"

namespace macadam {

namespace {

constexpr std::string_view kBeginning = "model.";

Value conv_norm_relu6(Graph& g, Value x, const std::string& conv, const std::string& norm,
                      const ConvLayer& layer) {
  return g.activation(g.batch_norm(g.conv(x, conv, layer), norm), Activation::relu6);
}

/// A depthwise and a 1x1 convolution; there is no shortcut.
Value separable(Graph& g, Value x, const std::string& name, int out, int stride) {
  ConvLayer depthwise = plain_conv(g.shape(x).c, 3, stride);
  depthwise.groups = depthwise.out_channels;
  x = conv_norm_relu6(g, x, name + ".conv_dw", name + ".bn1", depthwise);
  return conv_norm_relu6(g, x, name + ".conv_pw", name + ".bn2", plain_conv(out, 1));
}

/// The taps are the image and the five stages: 64, 128, 256, 512 and 1024 channels.
Features mobilenet_v1(Graph& g, Value image, const std::string& prefix) {
  constexpr std::array<int, 5> kBlocks{1, 2, 2, 6, 2};
  const std::string model = prefix + std::string(kBeginning);
  Features features{image};
  Value x = conv_norm_relu6(g, image, model + "conv_stem", model + "bn1", plain_conv(32, 3, 2));
  int channels = 64;
  for (size_t stage = 0; stage < kBlocks.size(); ++stage, channels *= 2) {
    for (int block = 0; block < kBlocks[stage]; ++block) {
      x = separable(g, x, fmt::format("{}blocks.{}.{}", model, stage, block), channels,
                    stage > 0 && block == 0 ? 2 : 1);
    }
    features.push_back(x);
  }
  return features;
}

}  // namespace

std::vector<Encoder> mobilenet_v1_encoders() {
  EncoderNames timm = own_names("timm", kBeginning);
  timm.normalization = kMinusOneToOne;
  return {{.name = "mobilenet_v1",
           .summary = "MobileNetV1 encoder",
           .features = [](Graph& g, Value image, const std::string& prefix,
                          const NetworkSpec&) { return mobilenet_v1(g, image, prefix); },
           .names = {std::move(timm)},
           .normalization = kMinusOneToOne}};
}

}  // namespace macadam
