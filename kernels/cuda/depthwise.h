#pragma once
// The gradient of a depthwise convolution's weights, in a source file of its own.

#include <cstddef>

#include "kernels/conv.h"
#include "kernels/device.h"

namespace macadam::cuda {

/// dw {C,k,k,1}, fp32, overwritten. `desc` is one that
/// is_depthwise() accepts. Sums are taken in an order that depends on the shape alone.
void depthwise_weight_gradient(Stream& stream, const ConvDesc& desc, const Tensor& x,
                               const Tensor& dy, const Tensor& dw, void* workspace);
size_t depthwise_weight_gradient_workspace_bytes(const ConvDesc& desc);

}  // namespace macadam::cuda
