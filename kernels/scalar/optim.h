#pragma once
// One element's optimiser update.

#include <cmath>

#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

/// PyTorch's SGD; `lr` is the segment's own (step's lr times lr_scale).
MACADAM_HD void sgd_update(float& parameter, float gradient, float& moment, float lr,
                           float weight_decay, float momentum, bool nesterov) {
  const float g = gradient + weight_decay * parameter;
  moment = momentum * moment + g;
  parameter -= lr * (nesterov ? g + momentum * moment : moment);
}

/// Loshchilov and Hutter, 2019, "Decoupled Weight Decay Regularization", as PyTorch computes it.
/// The factors are the same for every element of a step.
struct AdamWFactors {
  float decay;                 // 1 - lr * weight_decay
  float step_size;             // lr / bias_correction1
  float inv_sqrt_correction2;  // 1 / sqrt(bias_correction2)
};

MACADAM_HD AdamWFactors adamw_factors(float lr, float weight_decay, float bias_correction1,
                                      float bias_correction2) {
  return {1.0f - lr * weight_decay, lr / bias_correction1, 1.0f / std::sqrt(bias_correction2)};
}

MACADAM_HD void adamw_update(float& parameter, float gradient, float& moment1, float& moment2,
                             const AdamWFactors& factors, float beta1, float beta2, float eps) {
  moment1 = beta1 * moment1 + (1.0f - beta1) * gradient;
  moment2 = beta2 * moment2 + (1.0f - beta2) * gradient * gradient;
  const float denominator = std::sqrt(moment2) * factors.inv_sqrt_correction2 + eps;
  parameter = factors.decay * parameter - factors.step_size * moment1 / denominator;
}

}  // namespace macadam::scalar
