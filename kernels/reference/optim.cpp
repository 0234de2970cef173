#include <cmath>

#include "kernels/reference/families.h"

namespace macadam::reference {
namespace {

/// Calls f(element, segment) for every parameter that is not frozen.
template <typename F>
void for_each_parameter(std::span<const ParameterSegment> segments, F&& f) {
  for (const ParameterSegment& segment : segments) {
    if (segment.lr_scale == 0) continue;
    for (int64_t i = 0; i < segment.count; ++i) f(segment.offset + i, segment);
  }
}

class ReferenceOptimOps : public OptimOps {
 public:
  void sgd(const SgdDesc& desc, const OptimBuffers& buffers,
           std::span<const ParameterSegment> segments, const StepState* state) override {
    const double momentum = desc.momentum;
    for_each_parameter(segments, [&](int64_t i, const ParameterSegment& segment) {
      const double p = buffers.parameters[i];
      const double g = buffers.gradients[i] + double{segment.weight_decay} * p;
      const double m = momentum * buffers.moment1[i] + g;
      const double direction = desc.nesterov ? g + momentum * m : m;
      const double lr = double{state->lr} * segment.lr_scale;
      buffers.moment1[i] = static_cast<float>(m);
      buffers.parameters[i] = static_cast<float>(p - lr * direction);
    });
  }

  void adamw(const AdamWDesc& desc, const OptimBuffers& buffers,
             std::span<const ParameterSegment> segments, const StepState* state) override {
    const double beta1 = desc.beta1, beta2 = desc.beta2;
    for_each_parameter(segments, [&](int64_t i, const ParameterSegment& segment) {
      const double lr = double{state->lr} * segment.lr_scale;
      const double g = buffers.gradients[i];
      const double decayed = buffers.parameters[i] * (1 - lr * segment.weight_decay);
      const double m = beta1 * buffers.moment1[i] + (1 - beta1) * g;
      const double v = beta2 * buffers.moment2[i] + (1 - beta2) * g * g;
      const double denominator =
          std::sqrt(v) / std::sqrt(double{state->bias_correction2}) + double{desc.eps};
      buffers.moment1[i] = static_cast<float>(m);
      buffers.moment2[i] = static_cast<float>(v);
      buffers.parameters[i] =
          static_cast<float>(decayed - lr / double{state->bias_correction1} * m / denominator);
    });
  }
};

}  // namespace

std::unique_ptr<OptimOps> make_optim_ops() { return std::make_unique<ReferenceOptimOps>(); }

}  // namespace macadam::reference
