#include "models/unet_mini.h"

#include <array>

#include "models/encoders/encoder.h"

namespace macadam {

namespace {

constexpr std::array<NetworkOption, 1> kOptions{{
    {"dropout", "0.2", "probability of dropping an activation between a block's convolutions"},
}};

/// conv-ReLU-dropout-conv-ReLU at one scale.
Value block(Graph& g, Value x, const std::string& name, int channels, float dropout) {
  ConvLayer conv;
  conv.out_channels = channels;
  x = g.relu(g.conv(x, name + ".conv1", conv));
  if (dropout > 0) x = g.dropout(x, dropout);
  return g.relu(g.conv(x, name + ".conv2", conv));
}

/// Twice the size by nearest neighbour, then the skip's channels behind.
Value up_and_join(Graph& g, Value x, Value skip) { return g.concat({g.upsample(x, skip), skip}); }

Graph build(const NetworkSpec& spec, Shape input) {
  const float dropout = float_option(spec, kOptions[0], 0.0f, 0.9f);
  Graph g(input);
  const Value c1 = block(g, g.input(), "down1", 32, dropout);
  const Value c2 = block(g, g.max_pool(c1), "down2", 64, dropout);
  const Value c3 = block(g, g.max_pool(c2), "bottom", 128, dropout);
  const Value u2 = block(g, up_and_join(g, c3, c2), "up2", 64, dropout);
  const Value u1 = block(g, up_and_join(g, u2, c1), "up1", 32, dropout);
  g.set_output(g.conv(u1, "head", score_conv(spec.classes, 1)));
  return g;
}

}  // namespace

NetworkEntry unet_mini() {
  return {.name = "unet_mini",
          .summary = "three scales, 32-64-128 channels, dropout, no normalisation",
          .size_multiple = 4,
          .options = kOptions,
          .build = build};
}

}  // namespace macadam
