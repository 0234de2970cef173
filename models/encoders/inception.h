#pragma once
// What Inception-v4 and Inception-ResNet-v2 (Szegedy et al., 2017) are made of, named as in
// Cadene's pretrained-models.pytorch. As in segmentation_models.pytorch everything is padded, so
// that sizes halve; the paper pads some layers only.

#include <fmt/format.h>

#include <initializer_list>

#include "models/encoders/encoder.h"

namespace macadam {

struct InceptionConv {
  int channels;
  int height = 1, width = 1;  // of the kernel
  int stride = 1;
};

class InceptionBuilder {
 public:
  explicit InceptionBuilder(Graph& g) : g_(g) {}

  /// A convolution, batch norm and ReLU: NAME.conv, NAME.bn.
  Value conv(Value x, const std::string& name, const InceptionConv& wanted) const {
    ConvLayer layer = plain_conv(wanted.channels, 1, wanted.stride);
    layer.kernel_h = wanted.height;
    layer.kernel_w = wanted.width;
    layer.padding = {wanted.width / 2, wanted.width / 2, wanted.height / 2, wanted.height / 2};
    return g_.relu(g_.batch_norm(g_.conv(x, name + ".conv", layer), name + ".bn", {.eps = 1e-3f}));
  }

  /// One behind the other: NAME.0, NAME.1, …
  Value branch(Value x, const std::string& name, std::initializer_list<InceptionConv> convs) const {
    int number = 0;
    for (const InceptionConv& wanted : convs) {
      x = conv(x, fmt::format("{}.{}", name, number++), wanted);
    }
    return x;
  }

  /// An average over 3x3 pixels of the image, and a 1x1 convolution: NAME.1.
  Value pooled_branch(Value x, const std::string& name, int channels) const {
    return conv(g_.average_pool(x, {3, 3, 1, 1, Padding::all(1)}), name + ".1", {channels});
  }

  Value max_pool(Value x) const { return g_.max_pool(x, {3, 3, 2, 2, Padding::all(1)}); }
  Value concat(std::vector<Value> values) const { return g_.concat(std::move(values)); }

 protected:
  Graph& g_;
};

}  // namespace macadam
