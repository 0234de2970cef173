// ResNet v1 (He et al., 2016; the stride of a bottleneck lies on its 3x3 convolution) and ResNeXt
// (Xie et al., 2017), named as torchvision's resnet18, resnet34, resnet50, resnet101 and
// resnext50_32x4d.

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/to_size.h"
#include "models/encoders/encoder.h"

namespace macadam {

namespace {

struct ResNetVariant {
  std::array<int, 4> blocks;
  bool bottleneck;
  int groups = 1, group_width = 64;  // of a bottleneck's 3x3 convolution, in the first stage
};

/// Two 3x3 convolutions, or 1x1, 3x3 and a wider 1x1; then the shortcut is added.
Value residual_block(Graph& g, Value x, const std::string& name, int stage, int stride,
                     const ResNetVariant& variant) {
  const int out = (variant.bottleneck ? 256 : 64) << stage;
  Value shortcut = x;
  Value y = x;
  if (variant.bottleneck) {
    const int width = (variant.groups * variant.group_width) << stage;
    ConvLayer grouped = plain_conv(width, 3, stride);
    grouped.groups = variant.groups;
    y = g.relu(conv_norm(g, y, name + ".conv1", name + ".bn1", plain_conv(width, 1)));
    y = g.relu(conv_norm(g, y, name + ".conv2", name + ".bn2", grouped));
    y = conv_norm(g, y, name + ".conv3", name + ".bn3", plain_conv(out, 1));
  } else {
    y = g.relu(conv_norm(g, y, name + ".conv1", name + ".bn1", plain_conv(out, 3, stride)));
    y = conv_norm(g, y, name + ".conv2", name + ".bn2", plain_conv(out, 3));
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
      x = residual_block(g, x, fmt::format("{}layer{}.{}", prefix, stage + 1, block), stage,
                         stage > 0 && block == 0 ? 2 : 1, variant);
    }
    features.push_back(x);
  }
  return features;
}

Encoder encoder(std::string name, std::string_view summary, const ResNetVariant& variant) {
  EncoderNames names = own_names("torchvision");
  names.unet_prefix = "encoder.model.";  // timm's names are the same
  return {.name = std::move(name),
          .summary = summary,
          .features = [variant](Graph& g, Value image, const std::string& prefix,
                                const NetworkSpec&) { return resnet(g, image, prefix, variant); },
          .names = {std::move(names)}};
}

}  // namespace

std::vector<Encoder> resnet_encoders() {
  std::vector<Encoder> made{
      encoder("resnet18", "ResNet18 encoder", {{2, 2, 2, 2}, false}),
      encoder("resnet34", "ResNet34 encoder", {{3, 4, 6, 3}, false}),
      encoder("resnet50", "ResNet50 encoder, bottlenecks", {{3, 4, 6, 3}, true}),
      encoder("resnet101", "ResNet101 encoder, bottlenecks", {{3, 4, 23, 3}, true}),
      encoder("resnext50_32x4d", "ResNeXt50 encoder, bottlenecks of 32 groups",
              {{3, 4, 6, 3}, true, 32, 4}),
  };
  made[1].classify = [](Graph& g, const Features& features, const NetworkSpec& spec) {
    return pooled_scores(g, features.back(), "fc", 0, spec.classes);
  };
  return made;
}

}  // namespace macadam
