#pragma once
// MobileNetV2 (Sandler et al., 2018), named as torchvision's mobilenet_v2.

#include "models/encoders/encoder.h"

namespace macadam {

/// The taps are the image, features 1, 3, 6, 13 and 18: 16, 24, 32, 96 and 1280 channels. With
/// `expand_first` the first block begins with a 1x1 convolution 32 -> 32, which torchvision leaves
/// out and other implementations keep.
Features mobilenet_v2(Graph& g, Value image, const std::string& prefix, bool expand_first);

}  // namespace macadam
