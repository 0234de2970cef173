#include "models/unet.h"

#include <fmt/format.h>

#include <array>

#include "models/encoders/encoder.h"

namespace macadam {

namespace {

constexpr std::array<NetworkOption, 1> kOptions{{
    {"batch_norm", "true", "batch norm after every 3x3 convolution, which then has no bias"},
}};

/// Two times 3x3 convolution (and batch norm) and ReLU.
Value double_conv(Graph& g, Value x, const std::string& name, int channels, bool batch_norm) {
  for (int i = 1; i <= 2; ++i) {
    ConvLayer conv = plain_conv(channels, 3);
    conv.bias = !batch_norm;
    x = g.conv(x, fmt::format("{}.conv{}", name, i), conv);
    if (batch_norm) x = g.batch_norm(x, fmt::format("{}.bn{}", name, i));
    x = g.relu(x);
  }
  return x;
}

Graph build(const NetworkSpec& spec, Shape input) {
  const bool batch_norm = bool_option(spec, kOptions[0]);
  constexpr std::array<int, 4> kChannels{64, 128, 256, 512};
  Graph g(input);
  std::array<Value, 4> skips;
  Value x = g.input();
  for (size_t i = 0; i < skips.size(); ++i) {
    skips[i] = double_conv(g, x, fmt::format("down{}", i + 1), kChannels[i], batch_norm);
    x = g.max_pool(skips[i]);
  }
  x = double_conv(g, x, "bottom", 1024, batch_norm);
  for (size_t i = skips.size(); i-- > 0;) {
    const std::string name = fmt::format("up{}", i + 1);
    ConvTransposeLayer up;
    up.out_channels = kChannels[i];
    x = g.conv_transpose(x, name + ".transpose", up);
    x = double_conv(g, g.concat({skips[i], x}), name, kChannels[i], batch_norm);
  }
  g.set_output(g.conv(x, "head", score_conv(spec.classes, 1)));
  return g;
}

}  // namespace

NetworkEntry unet() {
  return {.name = "unet",
          .summary = "Ronneberger's five scales, 64 to 1024 channels, transposed convolutions",
          .size_multiple = 16,
          .options = kOptions,
          .build = build};
}

}  // namespace macadam
