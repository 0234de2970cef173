#include "engine/plan/precision.h"

namespace macadam {

namespace {

/// What the device computes fast with 16 bits in, if with any. Volta and Turing have tensor cores
/// for fp16 alone.
DType fastest_precision(const DeviceInfo& device) {
  if (device.fast_bf16) return DType::bf16;
  const bool fast_fp16 = device.device.is_cuda() && device.compute_capability >= 70;
  return fast_fp16 ? DType::f16 : DType::f32;
}

}  // namespace

DType resolve_precision(std::string_view precision, const DeviceInfo& device) {
  if (precision == "auto") return fastest_precision(device);
  if (precision == "fp32") return DType::f32;
  if (precision == "bf16") {
    if (!device.bf16) {
      throw InputError("bf16 needs a processor with AVX-512", device.name,
                       "use precision fp32 or auto (what oneDNN may use here: macadam info)");
    }
    return DType::bf16;
  }
  if (precision != "fp16") {
    throw InputError("no such precision", std::string(precision), "use auto, fp32, bf16 or fp16");
  }
  if (!device.device.is_cuda()) {
    throw InputError("fp16 runs on CUDA only", device.device.name(), "use bf16 or fp32");
  }
  return DType::f16;
}

std::string_view precision_name(DType dtype) {
  return dtype == DType::f32 ? "fp32" : dtype == DType::bf16 ? "bf16" : "fp16";
}

}  // namespace macadam
