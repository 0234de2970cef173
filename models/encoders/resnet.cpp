// ResNet v1 (He et al., 2016; the stride of a bottleneck lies on its 3x3 convolution), named as
// torchvision's resnet18, resnet34 and resnet50.

#include <fmt/format.h>

#include <array>

#include "base/to_size.h"
#include "models/encoders/encoder.h"

namespace macadam {

namespace {

struct ResNetVariant {
  std::array<int, 4> blocks;
  bool bottleneck;
};

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

/// The taps are the image, the first ReLU (64 channels at /2) and layer1 … layer4.
Features resnet(Graph& g, Value image, const std::string& prefix, const ResNetVariant& variant) {
  Features features{image};
  Value x = g.relu(conv_norm(g, image, prefix + "conv1", prefix + "bn1", plain_conv(64, 7, 2)));
  features.push_back(x);
  PoolDesc pool{3, 3, 2, 2, Padding::all(1)};
  x = g.max_pool(x, pool);
  for (int stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < variant.blocks[to_size(stage)]; ++block) {
      x = residual_block(g, x, fmt::format("{}layer{}.{}", prefix, stage + 1, block), 64 << stage,
                         stage > 0 && block == 0 ? 2 : 1, variant.bottleneck);
    }
    features.push_back(x);
  }
  return features;
}

Encoder encoder(std::string name, std::string_view summary, const ResNetVariant& variant) {
  return {.name = std::move(name),
          .summary = summary,
          .features = [variant](Graph& g, Value image, const std::string& prefix,
                                const NetworkSpec&) { return resnet(g, image, prefix, variant); },
          .names = {own_names("torchvision")}};
}

}  // namespace

std::vector<Encoder> resnet_encoders() {
  std::vector<Encoder> made{
      encoder("resnet18", "ResNet18 encoder", {{2, 2, 2, 2}, false}),
      encoder("resnet34", "ResNet34 encoder", {{3, 4, 6, 3}, false}),
      encoder("resnet50", "ResNet50 encoder, bottlenecks", {{3, 4, 6, 3}, true}),
  };
  made[1].classify = [](Graph& g, const Features& features, const NetworkSpec& spec) {
    return pooled_scores(g, features.back(), "fc", 0, spec.classes);
  };
  return made;
}

}  // namespace macadam
