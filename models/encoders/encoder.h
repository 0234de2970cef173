#pragma once
// What a decoder needs of an encoder: its features at each scale.

#include <string>
#include <vector>

#include "engine/graph/graph.h"

namespace macadam {

/// Features at /1 (the image itself), /2, /4, /8, /16 and /32 of the input; the last is the
/// deepest. Parameters are named PREFIX + the names that PyTorch's own implementation gives them.
using Features = std::vector<Value>;

/// Bias-free convolution as classification networks have it before a batch norm.
ConvLayer plain_conv(int channels, int kernel, int stride = 1);

/// The last convolution of a network, with a bias: class scores.
ConvLayer score_conv(int classes, int kernel);

/// TensorFlow's "same" padding of a height x width image: the output has ceil(size / stride)
/// pixels, and what cannot be halved goes to the right and the bottom.
Padding same_padding(int height, int width, int kernel, int stride);

}  // namespace macadam
