#pragma once
// VGG16 (Simonyan and Zisserman, 2015), named as torchvision's vgg16 and vgg16_bn; and what
// keras-applications' pretrained VGG16 is called and expects, which other networks begin with too.

#include <string_view>

#include "kernels/augment.h"

namespace macadam {

constexpr std::string_view kKerasVgg = "Keras VGG16";
/// Caffe's means, in bytes, and its order of channels.
constexpr Normalization kKerasVggImages{{103.939f, 116.779f, 123.68f}, {1, 1, 1}, 255, true};

}  // namespace macadam
