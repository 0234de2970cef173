// SGD and AdamW on the CPU.

#include "kernels/scalar/optim.h"

#include <memory>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"

namespace macadam::cpu {

namespace {

/// Calls update(segment, begin, end) with element ranges of the flat buffers, in parallel, for
/// every segment that is not frozen.
template <typename Update>
void for_segments(std::span<const ParameterSegment> segments, const Update& update) {
  for (const ParameterSegment& segment : segments) {
    if (segment.lr_scale == 0) continue;
    parallel_chunks(segment.count, kTaskElements, [&](int64_t, int64_t begin, int64_t end) {
      update(segment, segment.offset + begin, segment.offset + end);
    });
  }
}

class CpuOptimOps final : public OptimOps {
 public:
  void sgd(const SgdDesc& desc, const OptimBuffers& buffers,
           std::span<const ParameterSegment> segments, const StepState* state) override {
    for_segments(segments, [&](const ParameterSegment& segment, int64_t begin, int64_t end) {
      float* const parameters = buffers.parameters;
      const float* const gradients = buffers.gradients;
      float* const moment = buffers.moment1;
      const float lr = state->lr * segment.lr_scale, weight_decay = segment.weight_decay;
      const float momentum = desc.momentum;
      const bool nesterov = desc.nesterov;
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        scalar::sgd_update(parameters[i], gradients[i], moment[i], lr, weight_decay, momentum,
                           nesterov);
      }
    });
  }

  void adamw(const AdamWDesc& desc, const OptimBuffers& buffers,
             std::span<const ParameterSegment> segments, const StepState* state) override {
    for_segments(segments, [&](const ParameterSegment& segment, int64_t begin, int64_t end) {
      float* const parameters = buffers.parameters;
      const float* const gradients = buffers.gradients;
      float* const moment1 = buffers.moment1;
      float* const moment2 = buffers.moment2;
      const float beta1 = desc.beta1, beta2 = desc.beta2, eps = desc.eps;
      const scalar::AdamWFactors factors =
          scalar::adamw_factors(state->lr * segment.lr_scale, segment.weight_decay,
                                state->bias_correction1, state->bias_correction2);
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        scalar::adamw_update(parameters[i], gradients[i], moment1[i], moment2[i], factors, beta1,
                             beta2, eps);
      }
    });
  }
};

}  // namespace

std::unique_ptr<OptimOps> make_optim_ops() { return std::make_unique<CpuOptimOps>(); }

}  // namespace macadam::cpu
