#include "models/encoders/resnet.h"

#include <fmt/format.h>

namespace macadam {

namespace {

Value conv_norm(Graph& g, Value x, const std::string& conv, const std::string& norm,
                const ConvLayer& layer) {
  return g.batch_norm(g.conv(x, conv, layer), norm);
}

/// Two 3x3 convolutions, or 1x1, 3x3 and a four times wider 1x1; then the shortcut is added.
Value residual_block(Graph& g, Value x, const std::string& name, int width, int stride,
                     bool bottleneck) {
  const int out = bottleneck ? 4 * width : width;
  Value shortcut = x;
  Value y = x;
  if (bottleneck) {
    y = g.relu(conv_norm(g, y, name + ".conv1", name + ".bn1", plain_conv(width, 1)));
    y = g.relu(conv_norm(g, y, name + ".conv2", name + ".bn2", plain_conv(width, 3, stride)));
    y = conv_norm(g, y, name + ".conv3", name + ".bn3", plain_conv(out, 1));
  } else {
    y = g.relu(conv_norm(g, y, name + ".conv1", name + ".bn1", plain_conv(width, 3, stride)));
    y = conv_norm(g, y, name + ".conv2", name + ".bn2", plain_conv(width, 3));
  }
  if (stride != 1 || g.shape(x).c != out) {
    shortcut =
        conv_norm(g, x, name + ".downsample.0", name + ".downsample.1", plain_conv(out, 1, stride));
  }
  return g.relu(g.add(y, shortcut));
}

}  // namespace

Features resnet(Graph& g, Value image, const std::string& prefix, const ResNetVariant& variant) {
  Features features{image};
  Value x = g.relu(conv_norm(g, image, prefix + "conv1", prefix + "bn1", plain_conv(64, 7, 2)));
  features.push_back(x);
  PoolDesc pool{3, 3, 2, 2, Padding::all(1)};
  x = g.max_pool(x, pool);
  for (int stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < variant.blocks[static_cast<size_t>(stage)]; ++block) {
      x = residual_block(g, x, fmt::format("{}layer{}.{}", prefix, stage + 1, block), 64 << stage,
                         stage > 0 && block == 0 ? 2 : 1, variant.bottleneck);
    }
    features.push_back(x);
  }
  return features;
}

}  // namespace macadam
