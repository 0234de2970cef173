#pragma once
// Optimisers over all parameters at once: the parameters lie in one fp32 buffer, their gradients,
// moments and moving averages in buffers of the same layout, cut into segments (one a parameter
// tensor). A step is at most two calls: examine, when gradients are clipped or the loss is scaled,
// and the update.

#include <cstddef>
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
  uint64_t missed_updates = 0;  // of the run: AdamW's bias correction counts the others
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
  float* averages = nullptr;  // null: none are kept
  float average_decay = 0;    // d below
};

/// Dynamic loss scaling for fp16 (Micikevicius et al., 2018) by the rule and the constants of
/// PyTorch's GradScaler: a step with a gradient that is not finite makes no update and multiplies
/// the scale by `kBackoffFactor`; after `kGrowthInterval` steps without one in a row it is
/// multiplied by `kGrowthFactor`, unless fp32 could not hold it then.
struct GradScaler {
  static constexpr float kInitScale = 65536.0f;
  static constexpr float kGrowthFactor = 2.0f;
  static constexpr float kBackoffFactor = 0.5f;
  static constexpr uint32_t kGrowthInterval = 2000;
};

struct ExamineDesc {
  float clip_norm = 0;        // largest norm of the gradient of all parameters together; 0: any
  bool loss_scaling = false;  // skip a step that is not finite, and adapt the loss scale
};

/// `segments`, `state` and `gradients` lie in device memory. What the segments' lr_scale freezes is
/// part of no norm; its moving average follows it all the same.
class OptimOps {
 public:
  virtual ~OptimOps() = default;

  /// For flat buffers of `elements`.
  virtual size_t workspace_bytes(int64_t elements) const = 0;
  /// From the flat `gradients` of a step, with u = state.gradient_factor / state.loss_scale:
  ///   norm   = sqrt(sum (u g)^2), summed in a fixed order
  ///   skip   = loss_scaling and norm is not finite
  ///   factor = u * min(1, clip_norm / (norm + 1e-6))     (PyTorch's clip_grad_norm_)
  /// and the loss scale of the next step (see GradScaler).
  virtual void examine(const ExamineDesc& desc, const float* gradients,
                       std::span<const ParameterSegment> segments, const StepState* state,
                       GradientState* gradient_state, void* workspace) = 0;

  // Updates. g is the gradient times gradient_state->factor, or times state->gradient_factor where
  // `gradient_state` is null. With buffers.averages, t counting the updates of the run from 1:
  //   average += (1 - d) * (p - average), d = min(average_decay, (1 + t) / (10 + t)),
  // whose warm-up (TensorFlow's ExponentialMovingAverage) soon forgets where the run began.

  /// PyTorch's SGD: g += wd * p; m = momentum * m + g; p -= lr * (nesterov ? g + momentum * m : m).
  /// (m starts at zero, so the first step equals PyTorch's m = g.)
  virtual void sgd(const SgdDesc& desc, const OptimBuffers& buffers,
                   std::span<const ParameterSegment> segments, const StepState* state,
                   const GradientState* gradient_state) = 0;
  /// Loshchilov and Hutter, 2019, as PyTorch: p -= lr * wd * p, then the Adam step with
  /// denominator sqrt(v) / sqrt(1 - beta2^n) + eps, n counting the parameter's own updates.
  virtual void adamw(const AdamWDesc& desc, const OptimBuffers& buffers,
                     std::span<const ParameterSegment> segments, const StepState* state,
                     const GradientState* gradient_state) = 0;
};

}  // namespace macadam
