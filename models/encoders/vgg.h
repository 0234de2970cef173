#pragma once
// VGG16 (Simonyan and Zisserman, 2015), named as torchvision's vgg16 and vgg16_bn.

#include "models/encoders/encoder.h"

namespace macadam {

/// The taps are the ReLU outputs before each pooling, 64, 128, 256, 512 and 512 channels, and the
/// last pooling's output (/32); the tap at /1 has the first 64 channels in place of the image.
Features vgg16(Graph& g, Value image, const std::string& prefix, bool batch_norm);

/// torchvision's classifier upon the features of a 224x224 image: {N, 1, 1, classes}.
Value vgg16_head(Graph& g, Value pooled, const std::string& prefix, int classes);

}  // namespace macadam
