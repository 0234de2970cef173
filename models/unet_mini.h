#pragma once
// UNet-mini: three scales, two 3x3 convolutions a block with dropout between them, no
// normalisation (the `unet_mini` of image-segmentation-keras).

#include "models/network.h"

namespace macadam {

NetworkEntry unet_mini();

}  // namespace macadam
