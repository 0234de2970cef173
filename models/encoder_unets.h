#pragma once
// UNets upon classification encoders, the topology and parameter names of
// segmentation_models.pytorch's Unet: its weight files and those of its encoders load by name.

#include <vector>

#include "models/network.h"

namespace macadam {

/// One upon each of all_encoders(): efficientnet_b0_unet, …, vgg16_bn_unet.
std::vector<NetworkEntry> encoder_unets();

/// The encoders that have a classifier, with it: efficientnet_b0, resnet34, vgg16.
std::vector<NetworkEntry> classifiers();

}  // namespace macadam
