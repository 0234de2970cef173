#pragma once
// The decoder and head of segmentation_models.pytorch's Unet: the same for every encoder.

#include "models/encoders/encoder.h"

namespace macadam {

/// Five blocks of 256, 128, 64, 32 and 16 channels: up-sample (nearest) to the next feature's size,
/// join with it, two 3x3 convolutions with batch norm and ReLU. `center` puts two more of them
/// before (VGG). Returns the class scores at the size of the image (features[0]).
Value unet_decoder(Graph& g, const Features& features, bool center, int classes);

}  // namespace macadam
