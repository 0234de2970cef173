#pragma once
// UNet as Ronneberger et al. (2015) drew it, with padded convolutions so that the scores have the
// size of the image.

#include "models/network.h"

namespace macadam {

NetworkEntry unet();

}  // namespace macadam
