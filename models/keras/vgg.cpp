// keras-applications' VGG16 (Simonyan and Zisserman, 2015).

#include "models/encoders/vgg.h"

#include <fmt/format.h>

#include <array>

#include "models/keras/backbone.h"

namespace macadam {

namespace {

/// The taps are the last activations of blocks 2 to 5 and the last pooling.
Features vgg16(Graph& g) {
  struct Block {
    int channels, convs;
  };
  constexpr std::array<Block, 5> kBlocks{{{64, 2}, {128, 2}, {256, 3}, {512, 3}, {512, 3}}};
  Features features{g.input()};
  Value x = g.input();
  for (size_t i = 0; i < kBlocks.size(); ++i) {
    for (int number = 1; number <= kBlocks[i].convs; ++number) {
      ConvLayer conv = plain_conv(kBlocks[i].channels, 3);
      conv.bias = true;
      x = g.relu(g.conv(x, fmt::format("{}block{}_conv{}", kBackbone, i + 1, number), conv));
    }
    if (i > 0) features.push_back(x);
    x = g.max_pool(x);
  }
  features.push_back(x);
  return features;
}

}  // namespace

std::vector<Backbone> vgg_backbones() {
  return {{.name = "vgg16",
           .summary = "segmentation_models (Keras), VGG16",
           .normalization = kKerasVggImages,
           .features = [](Graph& g, const NetworkSpec&) { return vgg16(g); },
           .ends_in_pooling = true}};
}

}  // namespace macadam
