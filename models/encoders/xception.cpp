// Xception (Chollet, 2017), named as in Cadene's pretrained-models.pytorch, with the paddings and
// taps of segmentation_models.pytorch: the first two convolutions are padded.

#include <fmt/format.h>

#include "models/encoders/encoder.h"

namespace macadam {

namespace {

/// A depthwise and a 1x1 convolution with nothing between them.
Value separable(Graph& g, Value x, const std::string& name, int out) {
  ConvLayer depthwise = plain_conv(g.shape(x).c, 3);
  depthwise.groups = depthwise.out_channels;
  x = g.conv(x, name + ".conv1", depthwise);
  return g.conv(x, name + ".pointwise", plain_conv(out, 1));
}

struct Block {
  int out;
  int convs = 2, stride = 2;
  bool begins_with_relu = true;
  bool grows_last = false;  // the last convolution is the one that widens
};

/// Separable convolutions, a max pooling where the size halves, and the shortcut. `rep` numbers
/// every layer, activations among them.
Value residual(Graph& g, Value x, const std::string& name, const Block& block) {
  const int in = g.shape(x).c;
  Value y = x;
  int layer = 0;
  for (int i = 0; i < block.convs; ++i) {
    if (i > 0 || block.begins_with_relu) {
      y = g.relu(y);
      ++layer;
    }
    const bool last = i + 1 == block.convs;
    y = separable(g, y, fmt::format("{}.rep.{}", name, layer++),
                  block.grows_last && !last ? in : block.out);
    y = g.batch_norm(y, fmt::format("{}.rep.{}", name, layer++));
  }
  Value shortcut = x;
  if (block.stride != 1) {
    y = g.max_pool(y, {3, 3, block.stride, block.stride, Padding::all(1)});
    shortcut = g.conv(x, name + ".skip", plain_conv(block.out, 1, block.stride));
    shortcut = g.batch_norm(shortcut, name + ".skipbn");
  }
  return g.add(y, shortcut);
}

/// The taps are the image, the second ReLU, the sums of blocks 1, 2 and 11 and the last batch norm,
/// before any ReLU: 64, 128, 256, 728 and 2048 channels.
Features xception(Graph& g, Value image, const std::string& prefix) {
  const auto block = [&](Value x, int number, const Block& shape) {
    return residual(g, x, fmt::format("{}block{}", prefix, number), shape);
  };
  Features features{image};
  Value x = g.conv(image, prefix + "conv1", plain_conv(32, 3, 2));
  x = g.relu(g.batch_norm(x, prefix + "bn1"));
  x = g.relu(g.batch_norm(g.conv(x, prefix + "conv2", plain_conv(64, 3)), prefix + "bn2"));
  features.push_back(x);
  x = block(x, 1, {.out = 128, .begins_with_relu = false});
  features.push_back(x);
  x = block(x, 2, {.out = 256});
  features.push_back(x);
  x = block(x, 3, {.out = 728});
  for (int number = 4; number < 12; ++number) {
    x = block(x, number, {.out = 728, .convs = 3, .stride = 1});
  }
  features.push_back(x);
  x = block(x, 12, {.out = 1024, .grows_last = true});
  x = g.relu(g.batch_norm(separable(g, x, prefix + "conv3", 1536), prefix + "bn3"));
  features.push_back(g.batch_norm(separable(g, x, prefix + "conv4", 2048), prefix + "bn4"));
  return features;
}

}  // namespace

std::vector<Encoder> xception_encoders() {
  EncoderNames cadene = own_names("Cadene (timm legacy_)");
  cadene.normalization = kMinusOneToOne;
  return {{.name = "xception",
           .summary = "Xception encoder",
           .features = [](Graph& g, Value image, const std::string& prefix,
                          const NetworkSpec&) { return xception(g, image, prefix); },
           .names = {std::move(cadene)},
           .normalization = kMinusOneToOne}};
}

}  // namespace macadam
