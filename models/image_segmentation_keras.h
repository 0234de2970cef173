#pragma once
// image-segmentation-keras' `unet` and `vgg_unet`. The encoders are tapped after their poolings, so
// that the scores come at half the size; they are then doubled (bilinearly) within the network.

#include "models/network.h"

namespace macadam {

Graph keras_unet(const NetworkSpec& spec, Shape input);
Graph keras_vgg_unet(const NetworkSpec& spec, Shape input);

}  // namespace macadam
