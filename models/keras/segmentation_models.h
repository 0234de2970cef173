#pragma once
// The Unet of segmentation_models (Keras): the pre-activation ResNet34 of classification_models,
// and EfficientNet tapped at its six times wider expansions.

#include "models/network.h"

namespace macadam {

Graph keras_resnet34_unet(const NetworkSpec& spec, Shape input);
/// keras_efficientnet_b0_unet … b7, by the specification's name.
Graph keras_efficientnet_unet(const NetworkSpec& spec, Shape input);
std::span<const NetworkOption> keras_efficientnet_options();

}  // namespace macadam
