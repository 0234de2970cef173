#pragma once
// One element's optimiser update, and what the elements of a step share.

#include <cmath>

#include "kernels/optim.h"
#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

/// What a gradient in memory is multiplied by before it is clipped.
MACADAM_HD float unscaling(const StepState& step, float loss_scale) {
  return step.gradient_factor / loss_scale;
}

/// See OptimOps::examine; `sum_of_squares` is of the unscaled gradients.
MACADAM_HD void examine(const ExamineDesc& desc, const StepState& step, double sum_of_squares,
                        GradientState& state) {
  const float norm = static_cast<float>(std::sqrt(sum_of_squares));
  const bool finite = norm - norm == 0.0f;
  state.norm = norm;
  state.factor = unscaling(step, state.loss_scale);
  state.skip = desc.loss_scaling && !finite ? 1 : 0;
  if (desc.clip_norm > 0) {
    const float coefficient = desc.clip_norm / (norm + 1e-6f);
    if (!(coefficient >= 1.0f)) state.factor *= coefficient;  // a NaN goes on
  }
  if (!desc.loss_scaling) return;
  if (!finite) {
    ++state.skipped;
    state.good_steps = 0;
    state.loss_scale *= GradScaler::kBackoffFactor;
  } else if (++state.good_steps == GradScaler::kGrowthInterval) {
    state.good_steps = 0;
    const float grown = state.loss_scale * GradScaler::kGrowthFactor;
    if (grown - grown == 0.0f) state.loss_scale = grown;
  }
}

/// The same for all elements of a step.
struct StepFactors {
  float gradient;    // on each gradient
  float averaging;   // 1 - d of the moving averages
  uint64_t updates;  // of the run, with this one
};

MACADAM_HD StepFactors step_factors(const StepState& step, const GradientState* gradient,
                                    float average_decay) {
  const uint64_t updates = step.update + 1 - (gradient == nullptr ? 0 : gradient->skipped);
  const float warm_up = 9.0f / (10.0f + static_cast<float>(updates));
  const float averaging = 1.0f - average_decay;
  return {gradient == nullptr ? step.gradient_factor : gradient->factor,
          averaging > warm_up ? averaging : warm_up, updates};
}

MACADAM_HD void average_update(float& average, float parameter, float averaging) {
  average += averaging * (parameter - average);
}

/// PyTorch's SGD; `lr` is the segment's own (step's lr times lr_scale).
MACADAM_HD void sgd_update(float& parameter, float gradient, float& moment, float lr,
                           float weight_decay, float momentum, bool nesterov) {
  const float g = gradient + weight_decay * parameter;
  moment = momentum * moment + g;
  parameter -= lr * (nesterov ? g + momentum * moment : moment);
}

/// Loshchilov and Hutter, 2019, "Decoupled Weight Decay Regularization", as PyTorch computes it.
/// The factors are the same for every element of a parameter.
struct AdamWFactors {
  float decay;                 // 1 - lr * weight_decay
  float step_size;             // lr / (1 - beta1^n)
  float inv_sqrt_correction2;  // 1 / sqrt(1 - beta2^n)
};

/// log(beta1) and log(beta2), from which 1 - beta^n follows to the last bit or two for every n.
struct LogBetas {
  float beta1, beta2;
};

inline LogBetas log_betas(const AdamWDesc& desc) {
  return {static_cast<float>(std::log(static_cast<double>(desc.beta1))),
          static_cast<float>(std::log(static_cast<double>(desc.beta2)))};
}

MACADAM_HD AdamWFactors adamw_factors(const ParameterSegment& segment, const StepState& step,
                                      const LogBetas& logs, uint64_t updates) {
  const float lr = step.lr * segment.lr_scale;
  const auto n = static_cast<float>(updates - segment.missed_updates);
  const float correction1 = -std::expm1(n * logs.beta1);
  const float correction2 = -std::expm1(n * logs.beta2);
  return {1.0f - lr * segment.weight_decay, lr / correction1, 1.0f / std::sqrt(correction2)};
}

MACADAM_HD void adamw_update(float& parameter, float gradient, float& moment1, float& moment2,
                             const AdamWFactors& factors, float beta1, float beta2, float eps) {
  moment1 = beta1 * moment1 + (1.0f - beta1) * gradient;
  moment2 = beta2 * moment2 + (1.0f - beta2) * gradient * gradient;
  const float denominator = std::sqrt(moment2) * factors.inv_sqrt_correction2 + eps;
  parameter = factors.decay * parameter - factors.step_size * moment1 / denominator;
}

}  // namespace macadam::scalar
