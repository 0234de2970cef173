#pragma once
// ResNet v1 (He et al., 2016; the stride of a bottleneck lies on its 3x3 convolution), named as
// torchvision's resnet18, resnet34 and resnet50.

#include <array>

#include "models/encoders/encoder.h"

namespace macadam {

struct ResNetVariant {
  std::array<int, 4> blocks;
  bool bottleneck;
};

constexpr ResNetVariant kResNet18{{2, 2, 2, 2}, false};
constexpr ResNetVariant kResNet34{{3, 4, 6, 3}, false};
constexpr ResNetVariant kResNet50{{3, 4, 6, 3}, true};

/// The taps are the image, the first ReLU (64 channels at /2) and layer1 … layer4.
Features resnet(Graph& g, Value image, const std::string& prefix, const ResNetVariant& variant);

}  // namespace macadam
