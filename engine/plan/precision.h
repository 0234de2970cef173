#pragma once
// The mixed-precision rule: activations and their gradients are bf16 where the device is fast at
// it, fp16 on GPUs that are fast at that alone (Volta, Turing), else fp32; weights, gradients of
// weights, moments, statistics and losses are always fp32. Training in fp16 scales the loss.

#include <string_view>

#include "kernels/device.h"

namespace macadam {

/// The dtype of activations for "auto", "fp32", "bf16" or "fp16" on a device. Throws InputError for
/// other words, for fp16 on the CPU, in training and in use, and for bf16 on a device without it.
DType resolve_precision(std::string_view precision, const DeviceInfo& device);

/// "fp32", "bf16", "fp16": the name of a dtype as a precision.
std::string_view precision_name(DType dtype);

}  // namespace macadam
