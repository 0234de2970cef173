#include "models/encoders/vgg.h"

#include <fmt/format.h>

#include <array>

namespace macadam {

Features vgg16(Graph& g, Value image, const std::string& prefix, bool batch_norm) {
  struct Block {
    int channels, convs;
  };
  constexpr std::array<Block, 5> kBlocks{{{64, 2}, {128, 2}, {256, 3}, {512, 3}, {512, 3}}};

  Features features;
  Value x = image;
  int index = 0;  // torchvision numbers every layer of nn.Sequential
  for (const Block& block : kBlocks) {
    for (int i = 0; i < block.convs; ++i) {
      ConvLayer conv;
      conv.out_channels = block.channels;
      x = g.conv(x, fmt::format("{}features.{}", prefix, index++), conv);
      if (batch_norm) x = g.batch_norm(x, fmt::format("{}features.{}", prefix, index++));
      x = g.relu(x);
      ++index;
    }
    features.push_back(x);
    x = g.max_pool(x);
    ++index;
  }
  features.push_back(x);
  return features;
}

Value vgg16_head(Graph& g, Value pooled, const std::string& prefix, int classes) {
  const Shape shape = g.shape(pooled);
  if (shape.h != 7 || shape.w != 7) {
    throw InputError("the VGG16 classifier takes images of 224x224", "size", "use 224x224");
  }
  // A fully connected layer over 7x7 pixels is a convolution with a 7x7 kernel.
  ConvLayer full = plain_conv(4096, 7);
  full.padding = {};
  full.bias = true;
  Value x = g.dropout(g.relu(g.conv(pooled, prefix + "classifier.0", full)), 0.5f);
  full.kernel_h = full.kernel_w = 1;
  x = g.dropout(g.relu(g.conv(x, prefix + "classifier.3", full)), 0.5f);
  full.out_channels = classes;
  return g.conv(x, prefix + "classifier.6", full);
}

}  // namespace macadam
