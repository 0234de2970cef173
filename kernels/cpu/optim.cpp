// SGD and AdamW on the CPU. Every pass goes over the flat buffers in chunks, whatever the segments.

#include "kernels/scalar/optim.h"

#include <algorithm>
#include <memory>

#include "base/to_size.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"

namespace macadam::cpu {

namespace {

int64_t end_of(std::span<const ParameterSegment> segments) {
  return segments.empty() ? 0 : segments.back().offset + segments.back().count;
}

/// Calls body(chunk, segment, begin, end) for each piece of a segment that a chunk of the flat
/// buffers holds; the chunks in parallel.
template <typename Body>
void for_pieces(std::span<const ParameterSegment> segments, const Body& body) {
  parallel_chunks(end_of(segments), kTaskElements, [&](int64_t k, int64_t begin, int64_t end) {
    auto segment = std::ranges::partition_point(
        segments, [&](const ParameterSegment& s) { return s.offset + s.count <= begin; });
    for (; segment != segments.end() && segment->offset < end; ++segment) {
      body(k, *segment, std::max(begin, segment->offset),
           std::min(end, segment->offset + segment->count));
    }
  });
}

/// The averages of the elements [begin, end), if any are kept.
void update_averages(const OptimBuffers& buffers, float averaging, int64_t begin, int64_t end) {
  if (buffers.averages == nullptr) return;
  const float* const parameters = buffers.parameters;
  float* const averages = buffers.averages;
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    scalar::average_update(averages[i], parameters[i], averaging);
  }
}

/// A step: update(segment, factors, begin, end) wherever nothing is frozen, and the averages.
template <typename Update>
void run_step(const OptimBuffers& buffers, std::span<const ParameterSegment> segments,
              const StepState& state, const GradientState* gradient_state, const Update& update) {
  if (gradient_state != nullptr && gradient_state->skip != 0) return;
  const scalar::StepFactors factors =
      scalar::step_factors(state, gradient_state, buffers.average_decay);
  for_pieces(segments, [&](int64_t, const ParameterSegment& segment, int64_t begin, int64_t end) {
    if (segment.lr_scale != 0) update(segment, factors, begin, end);
    update_averages(buffers, factors.averaging, begin, end);
  });
}

/// In lanes that are added up at the end.
double sum_of_squares(const float* gradients, int64_t count, float factor) {
  constexpr int64_t kLanes = 64;
  alignas(64) float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
#pragma omp simd
    for (int64_t l = 0; l < kLanes; ++l) {
      const float g = gradients[i + l] * factor;
      lanes[l] += g * g;
    }
  }
  for (int64_t l = 0; i + l < count; ++l) {
    const float g = gradients[i + l] * factor;
    lanes[l] += g * g;
  }
  double sum = 0;
  for (const float lane : lanes) sum += static_cast<double>(lane);
  return sum;
}

class CpuOptimOps final : public OptimOps {
 public:
  size_t workspace_bytes(int64_t elements) const override {
    return to_size(ceil_div(elements, kTaskElements)) * sizeof(double);
  }

  void examine(const ExamineDesc& desc, const float* gradients,
               std::span<const ParameterSegment> segments, const StepState* state,
               GradientState* gradient_state, void* workspace) override {
    const std::span<double> sums(static_cast<double*>(workspace),
                                 to_size(ceil_div(end_of(segments), kTaskElements)));
    std::ranges::fill(sums, 0.0);
    const float factor = scalar::unscaling(*state, gradient_state->loss_scale);
    for_pieces(segments,
               [&](int64_t k, const ParameterSegment& segment, int64_t begin, int64_t end) {
                 if (segment.lr_scale == 0) return;
                 const double sum = sum_of_squares(gradients + begin, end - begin, factor);
                 sums[to_size(k)] += sum;
               });
    double sum = 0;
    for (const double part : sums) sum += part;
    scalar::examine(desc, *state, sum, *gradient_state);
  }

  void sgd(const SgdDesc& desc, const OptimBuffers& buffers,
           std::span<const ParameterSegment> segments, const StepState* state,
           const GradientState* gradient_state) override {
    run_step(buffers, segments, *state, gradient_state,
             [&](const ParameterSegment& segment, const scalar::StepFactors& factors, int64_t begin,
                 int64_t end) {
               float* const parameters = buffers.parameters;
               const float* const gradients = buffers.gradients;
               float* const moment = buffers.moment1;
               const float lr = state->lr * segment.lr_scale, decay = segment.weight_decay;
               const float factor = factors.gradient, momentum = desc.momentum;
               const bool nesterov = desc.nesterov;
#pragma omp simd
               for (int64_t i = begin; i < end; ++i) {
                 scalar::sgd_update(parameters[i], gradients[i] * factor, moment[i], lr, decay,
                                    momentum, nesterov);
               }
             });
  }

  void adamw(const AdamWDesc& desc, const OptimBuffers& buffers,
             std::span<const ParameterSegment> segments, const StepState* state,
             const GradientState* gradient_state) override {
    const scalar::LogBetas logs = scalar::log_betas(desc);
    run_step(buffers, segments, *state, gradient_state,
             [&](const ParameterSegment& segment, const scalar::StepFactors& factors, int64_t begin,
                 int64_t end) {
               float* const parameters = buffers.parameters;
               const float* const gradients = buffers.gradients;
               float* const moment1 = buffers.moment1;
               float* const moment2 = buffers.moment2;
               const float beta1 = desc.beta1, beta2 = desc.beta2, eps = desc.eps;
               const float factor = factors.gradient;
               const scalar::AdamWFactors adam =
                   scalar::adamw_factors(segment, *state, logs, factors.updates);
#pragma omp simd
               for (int64_t i = begin; i < end; ++i) {
                 scalar::adamw_update(parameters[i], gradients[i] * factor, moment1[i], moment2[i],
                                      adam, beta1, beta2, eps);
               }
             });
  }
};

}  // namespace

std::unique_ptr<OptimOps> make_optim_ops() { return std::make_unique<CpuOptimOps>(); }

}  // namespace macadam::cpu
