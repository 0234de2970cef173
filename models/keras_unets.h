#pragma once
// The UNets of two Keras libraries, for weight files trained there: segmentation_models (an older
// topology than its PyTorch sister) and image-segmentation-keras. Parameters are named "encoder.",
// "decoder." or "head." + the Keras layer's name, where the library gives it one.

#include <vector>

#include "models/network.h"

namespace macadam {

/// What image-segmentation-keras feeds its networks: caffe's means are subtracted from B, G and R,
/// and the channels then turned to R, G, B.
constexpr Normalization kImageSegmentationKeras{
    {123.68f, 116.779f, 103.939f}, {1, 1, 1}, 255, false};

/// keras_unet, keras_vgg_unet, and one upon each of all_keras_backbones(): keras_resnet34_unet, ….
std::vector<NetworkEntry> keras_unets();

}  // namespace macadam
