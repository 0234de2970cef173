#pragma once
// Matrix arithmetic as the networks do it: the convolutions of VGG16-UNet and one plain product.

#include <functional>
#include <string>
#include <vector>

#include "bench/op_cases.h"

namespace macadam::bench {

struct ConvolutionCase {
  std::string name;  // "convolution_forward/64->64/512x1024"
  double flops = 0;  // two a multiply-add
  std::function<Call(Workbench&)> make;
};

/// For images of the extents, forward and both gradients.
std::vector<ConvolutionCase> convolution_cases(const Extents& extents, DType dtype);

}  // namespace macadam::bench
