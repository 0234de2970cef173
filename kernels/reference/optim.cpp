#include <algorithm>
#include <cmath>

#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

class ReferenceOptimOps : public OptimOps {
 public:
  size_t workspace_bytes(int64_t) const override { return 0; }

  void examine(const ExamineDesc& desc, const float* gradients,
               std::span<const ParameterSegment> segments, const StepState* state,
               GradientState* gradient_state, void*) override {
    GradientState& s = *gradient_state;
    // What decides about the whole step is fp32, as in PyTorch.
    const float unscaling = state->gradient_factor / s.loss_scale;
    double sum = 0;
    for (const ParameterSegment& segment : segments) {
      if (segment.lr_scale == 0) continue;
      for (int64_t i = 0; i < segment.count; ++i) {
        const double g = double{gradients[segment.offset + i]} * unscaling;
        sum += g * g;
      }
    }
    s.norm = static_cast<float>(std::sqrt(sum));
    const bool finite = std::isfinite(s.norm);
    const float clip = desc.clip_norm > 0 ? desc.clip_norm / (s.norm + 1e-6f) : 1.0f;
    s.factor = clip > 1 ? unscaling : unscaling * clip;
    s.skip = desc.loss_scaling && !finite ? 1 : 0;
    if (!desc.loss_scaling) return;
    if (s.skip) {
      s.skipped += 1;
      s.good_steps = 0;
      s.loss_scale /= 2;
      return;
    }
    s.good_steps += 1;
    if (s.good_steps < 2000) return;
    s.good_steps = 0;
    if (std::isfinite(2 * s.loss_scale)) s.loss_scale *= 2;
  }

  void sgd(const SgdDesc& desc, const OptimBuffers& buffers,
           std::span<const ParameterSegment> segments, const StepState* state,
           const GradientState* gradient_state) override {
    const double momentum = desc.momentum;
    for_each_update(buffers, segments, state, gradient_state,
                    [&](int64_t i, double gradient, double lr, const ParameterSegment& segment) {
                      const double p = buffers.parameters[i];
                      const double g = gradient + double{segment.weight_decay} * p;
                      const double m = momentum * buffers.moment1[i] + g;
                      const double direction = desc.nesterov ? g + momentum * m : m;
                      buffers.moment1[i] = static_cast<float>(m);
                      return p - lr * direction;
                    });
  }

  void adamw(const AdamWDesc& desc, const OptimBuffers& buffers,
             std::span<const ParameterSegment> segments, const StepState* state,
             const GradientState* gradient_state) override {
    const double beta1 = desc.beta1, beta2 = desc.beta2;
    const double made = updates_of_run(state, gradient_state);
    for_each_update(buffers, segments, state, gradient_state,
                    [&](int64_t i, double g, double lr, const ParameterSegment& segment) {
                      const double n = made - static_cast<double>(segment.missed_updates);
                      const double decayed =
                          buffers.parameters[i] * (1 - lr * segment.weight_decay);
                      const double m = beta1 * buffers.moment1[i] + (1 - beta1) * g;
                      const double v = beta2 * buffers.moment2[i] + (1 - beta2) * g * g;
                      const double denominator =
                          std::sqrt(v) / std::sqrt(1 - std::pow(beta2, n)) + double{desc.eps};
                      buffers.moment1[i] = static_cast<float>(m);
                      buffers.moment2[i] = static_cast<float>(v);
                      return decayed - lr / (1 - std::pow(beta1, n)) * m / denominator;
                    });
  }

 private:
  /// With the one under way.
  static double updates_of_run(const StepState* state, const GradientState* gradient_state) {
    const double steps = static_cast<double>(state->update) + 1;
    return gradient_state ? steps - gradient_state->skipped : steps;
  }

  /// For every element: parameter = update(element, gradient, learning rate, segment) unless it is
  /// frozen, and then its moving average.
  template <typename Update>
  static void for_each_update(const OptimBuffers& buffers,
                              std::span<const ParameterSegment> segments, const StepState* state,
                              const GradientState* gradient_state, Update&& update) {
    if (gradient_state && gradient_state->skip) return;
    const double factor = gradient_state ? gradient_state->factor : state->gradient_factor;
    const double t = updates_of_run(state, gradient_state);
    const double d = std::min(double{buffers.average_decay}, (1 + t) / (10 + t));
    for (const ParameterSegment& segment : segments) {
      for (int64_t i = segment.offset; i < segment.offset + segment.count; ++i) {
        float& parameter = buffers.parameters[i];
        if (segment.lr_scale != 0) {
          parameter = static_cast<float>(update(i, factor * buffers.gradients[i],
                                                double{state->lr} * segment.lr_scale, segment));
        }
        if (!buffers.averages) continue;
        float& average = buffers.averages[i];
        average = static_cast<float>(d * average + (1 - d) * parameter);
      }
    }
  }
};

}  // namespace

std::unique_ptr<OptimOps> make_optim_ops() { return std::make_unique<ReferenceOptimOps>(); }

}  // namespace macadam::reference
