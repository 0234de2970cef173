#pragma once
// The decoder and head of segmentation_models' Unet, the PyTorch and the Keras library: the same
// for every encoder.

#include <array>
#include <string>

#include "models/encoders/encoder.h"

namespace macadam {

/// What the two libraries do differently. A block is called `block` + its number; its
/// convolutions add theirs, and the layers of those their suffix. `centers` are those of the
/// center.
struct UnetDecoderStyle {
  std::array<std::string, 2> centers;
  std::string block;
  std::array<std::string, 2> convs;
  std::string conv_suffix, norm_suffix, head;
  BatchNormDesc norm;
};

const UnetDecoderStyle& smp_decoder();    // "decoder.blocks.0.conv1.0", "segmentation_head.0"
const UnetDecoderStyle& keras_decoder();  // "decoder.decoder_stage0a_conv", "head.final_conv"

/// Five blocks of 256, 128, 64, 32 and 16 channels: up-sample (nearest) to the next feature's size,
/// join with it, two 3x3 convolutions with batch norm and ReLU. Returns the class scores at the
/// size of the image (features[0]).
Value unet_decoder(Graph& g, const Features& features, const UnetDecoderStyle& style, int classes);

/// Two more such convolutions upon the deepest feature, which both put before the decoder of VGG.
Value unet_center(Graph& g, Value x, const UnetDecoderStyle& style = smp_decoder());

}  // namespace macadam
