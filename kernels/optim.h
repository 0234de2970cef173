#pragma once
// Optimisers over all parameters at once: the parameters lie in one fp32 buffer, their gradients
// and moments in buffers of the same layout, cut into segments (one a parameter tensor).

#include <cstdint>
#include <span>

#include "kernels/step_state.h"
#include "kernels/tensor.h"

namespace macadam {

/// A parameter's place in the flat buffers. Offsets are multiples of 64 elements and ascend; the
/// gaps between segments are never touched.
struct ParameterSegment {
  int64_t offset = 0;
  int64_t count = 0;
  float lr_scale = 1;  // 0 freezes the parameter: neither it nor its moments change
  float weight_decay = 0;
};

struct SgdDesc {
  float momentum = 0.9f;
  bool nesterov = false;
};

struct AdamWDesc {
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
};

/// Flat fp32 device buffers. moment2 is null for SGD.
struct OptimBuffers {
  float* parameters = nullptr;
  const float* gradients = nullptr;
  float* moment1 = nullptr;
  float* moment2 = nullptr;
};

/// `segments` and `state` lie in device memory.
class OptimOps {
 public:
  virtual ~OptimOps() = default;

  /// PyTorch's SGD: g += wd * p; m = momentum * m + g; p -= lr * (nesterov ? g + momentum * m : m).
  /// (m starts at zero, so the first step equals PyTorch's m = g.)
  virtual void sgd(const SgdDesc& desc, const OptimBuffers& buffers,
                   std::span<const ParameterSegment> segments, const StepState* state) = 0;
  /// Loshchilov and Hutter, 2019, as PyTorch: p -= lr * wd * p, then the Adam step with
  /// denominator sqrt(v) / sqrt(bias_correction2) + eps.
  virtual void adamw(const AdamWDesc& desc, const OptimBuffers& buffers,
                     std::span<const ParameterSegment> segments, const StepState* state) = 0;
};

}  // namespace macadam
