#pragma once
// UNets upon classification encoders, the topology and parameter names of
// segmentation_models.pytorch's Unet: its weight files and those of its encoders load by name.

#include <vector>

#include "models/network.h"

namespace macadam {

/// vgg16_unet, vgg16_bn_unet, resnet18_unet, …, efficientnet_b0_unet, …, mobilenet_v2_unet.
std::vector<NetworkEntry> encoder_unets();

/// The encoders with their classifiers: vgg16, resnet34, efficientnet_b0.
std::vector<NetworkEntry> classifiers();

}  // namespace macadam
