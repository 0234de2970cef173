#pragma once
// The small kernels around cuDNN's convolutions: bias and activation where cuDNN has no better
// fused plan, and random data to time plans on.

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/device.h"
#include "kernels/tensor.h"

namespace macadam::cuda {

/// y = activation(y + bias) for every pixel. `bias` has y's dtype and is 16-byte aligned.
void add_bias(Stream& stream, const Tensor& y, const void* bias, Activation activation);

/// Independent values in [-1, 1), the same for the same seed.
void fill_random(Stream& stream, void* destination, DType dtype, int64_t count, uint32_t seed);

}  // namespace macadam::cuda
