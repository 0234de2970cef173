#include "models/image_segmentation_keras.h"

#include <fmt/format.h>

#include <array>

#include "models/encoders/encoder.h"

namespace macadam {

namespace {

constexpr BatchNormDesc kNorm{.eps = 1e-3f, .momentum = 0.01f};  // Keras' defaults

Value biased_conv(Graph& g, Value x, const std::string& name, int channels) {
  ConvLayer conv = plain_conv(channels, 3);
  conv.bias = true;
  return g.conv(x, name, conv);
}

/// `levels` are the encoder's outputs at /2, /4, /8 and /16. In each block the ReLU comes before
/// the batch norm.
Value decode(Graph& g, const std::array<Value, 4>& levels, int classes) {
  constexpr std::array<int, 4> kChannels{512, 256, 128, 64};
  Value x = levels[3];
  for (size_t i = 0; i < kChannels.size(); ++i) {
    if (i > 0) {
      const Value skip = levels[3 - i];
      x = g.concat({g.upsample(x, skip), skip});
    }
    x = g.relu(biased_conv(g, x, fmt::format("decoder.conv{}", i + 1), kChannels[i]));
    x = g.batch_norm(x, fmt::format("decoder.bn{}", i + 1), kNorm);
  }
  return g.upsample(g.conv(x, "head.conv", score_conv(classes, 3)), g.input(), true);
}

}  // namespace

Graph keras_unet(const NetworkSpec& spec, Shape input) {
  constexpr std::array<int, 4> kChannels{64, 128, 256, 256};
  Graph g(input);
  std::array<Value, 4> levels;
  Value x = g.input();
  for (size_t i = 0; i < levels.size(); ++i) {
    x = biased_conv(g, x, fmt::format("encoder.conv{}", i + 1), kChannels[i]);
    x = g.relu(g.batch_norm(x, fmt::format("encoder.bn{}", i + 1), kNorm));
    levels[i] = x = g.max_pool(x);
  }
  g.set_output(decode(g, levels, spec.classes));
  return g;
}

Graph keras_vgg_unet(const NetworkSpec& spec, Shape input) {
  struct Block {
    int channels, convs;
  };
  constexpr std::array<Block, 4> kBlocks{{{64, 2}, {128, 2}, {256, 3}, {512, 3}}};
  Graph g(input);
  std::array<Value, 4> levels;
  Value x = g.input();
  for (size_t i = 0; i < levels.size(); ++i) {
    for (int conv = 1; conv <= kBlocks[i].convs; ++conv) {
      const std::string name = fmt::format("encoder.block{}_conv{}", i + 1, conv);
      x = g.relu(biased_conv(g, x, name, kBlocks[i].channels));
    }
    levels[i] = x = g.max_pool(x);
  }
  g.set_output(decode(g, levels, spec.classes));
  return g;
}

}  // namespace macadam
