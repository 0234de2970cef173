// Optimisers, one launch over all parameters. Floors: SGD 20 bytes a parameter (parameter,
// gradient and moment read, parameter and moment written), AdamW 28; 8 more with moving averages.
// Where gradients are clipped or the loss is scaled, a launch before it examines them: 4 bytes a
// parameter. What is off costs nothing: averages are a template
// parameter, and a thread asks once whether the gradients were examined.

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row_sums.cuh"
#include "kernels/optim.h"
#include "kernels/scalar/optim.h"

namespace macadam::cuda {

namespace {

/// Offsets of segments are multiples of this.
constexpr int kSegmentAlignment = 64;

/// Elements that one thread updates at once.
constexpr int kStep = 4;
static_assert(kSegmentAlignment % kStep == 0);

struct alignas(16) Quad {
  float lane[kStep];
};

template <bool Aligned>
__device__ __forceinline__ Quad load_quad(const float* source, int count) {
  if (Aligned && count == kStep) return *reinterpret_cast<const Quad*>(source);
  Quad quad{};
#pragma unroll
  for (int i = 0; i < kStep; ++i) {
    if (i < count) quad.lane[i] = source[i];
  }
  return quad;
}

template <bool Aligned>
__device__ __forceinline__ void store_quad(float* destination, const Quad& quad, int count) {
  if (Aligned && count == kStep) {
    *reinterpret_cast<Quad*>(destination) = quad;
    return;
  }
#pragma unroll
  for (int i = 0; i < kStep; ++i) {
    if (i < count) destination[i] = quad.lane[i];
  }
}

/// The last segment that begins at or before `element`; the first if there is none.
__device__ int segment_of(const ParameterSegment* segments, int count, int64_t element) {
  int low = 0, high = count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (segments[middle].offset <= element) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

/// An update of one parameter's elements.
struct Sgd {
  SgdDesc desc;

  struct Factors {
    float lr;
  };
  __device__ Factors factors(const ParameterSegment& segment, const StepState& state,
                             uint64_t) const {
    return {state.lr * segment.lr_scale};
  }

  template <bool Aligned>
  __device__ void update(const OptimBuffers& buffers, const ParameterSegment& segment,
                         const Factors& factors, float gradient_factor, int64_t at, int count,
                         Quad& p) const {
    const Quad g = load_quad<Aligned>(buffers.gradients + at, count);
    Quad m = load_quad<Aligned>(buffers.moment1 + at, count);
#pragma unroll
    for (int i = 0; i < kStep; ++i) {
      scalar::sgd_update(p.lane[i], g.lane[i] * gradient_factor, m.lane[i], factors.lr,
                         segment.weight_decay, desc.momentum, desc.nesterov);
    }
    store_quad<Aligned>(buffers.moment1 + at, m, count);
  }
};

struct AdamW {
  AdamWDesc desc;
  scalar::LogBetas logs;

  using Factors = scalar::AdamWFactors;
  __device__ Factors factors(const ParameterSegment& segment, const StepState& state,
                             uint64_t updates) const {
    return scalar::adamw_factors(segment, state, logs, updates);
  }

  template <bool Aligned>
  __device__ void update(const OptimBuffers& buffers, const ParameterSegment&,
                         const Factors& factors, float gradient_factor, int64_t at, int count,
                         Quad& p) const {
    const Quad g = load_quad<Aligned>(buffers.gradients + at, count);
    Quad m = load_quad<Aligned>(buffers.moment1 + at, count);
    Quad v = load_quad<Aligned>(buffers.moment2 + at, count);
#pragma unroll
    for (int i = 0; i < kStep; ++i) {
      scalar::adamw_update(p.lane[i], g.lane[i] * gradient_factor, m.lane[i], v.lane[i], factors,
                           desc.beta1, desc.beta2, desc.eps);
    }
    store_quad<Aligned>(buffers.moment1 + at, m, count);
    store_quad<Aligned>(buffers.moment2 + at, v, count);
  }
};

/// Elements that a block takes at once.
constexpr int64_t kStripe = kThreads * kStep;

__device__ int64_t end_of(const ParameterSegment* __restrict__ segments, int count) {
  return segments[count - 1].offset + segments[count - 1].count;
}

/// Calls body(segment, first element, elements) for the quads of all segments. The blocks share the
/// flat buffers out in stripes of kThreads * kStep elements; a thread finds the segment of its quad
/// once a stripe, and elements in the gaps are passed over.
template <typename Body>
__device__ void for_quads(const ParameterSegment* __restrict__ segments, int count,
                          const Body& body) {
  const int64_t end = end_of(segments, count);
  for (int64_t begin = blockIdx.x * kStripe; begin < end; begin += gridDim.x * kStripe) {
    const int64_t at = begin + threadIdx.x * kStep;
    const ParameterSegment segment = segments[segment_of(segments, count, at)];
    const int64_t left = segment.offset + segment.count - at;
    if (at < segment.offset || left <= 0) continue;
    body(segment, at, left < kStep ? static_cast<int>(left) : kStep);
  }
}

template <typename Rule, bool Aligned, bool Averages>
__global__ void __launch_bounds__(kThreads)
    update_kernel(Rule rule, OptimBuffers buffers, const ParameterSegment* __restrict__ segments,
                  int count, const StepState* __restrict__ state,
                  const GradientState* __restrict__ gradient_state) {
  if (gradient_state != nullptr && gradient_state->skip != 0) return;
  const StepState now = *state;
  const scalar::StepFactors step = scalar::step_factors(now, gradient_state, buffers.average_decay);
  for_quads(segments, count, [&](const ParameterSegment& segment, int64_t at, int elements) {
    const bool frozen = segment.lr_scale == 0.0f;
    if (!Averages && frozen) return;
    Quad p = load_quad<Aligned>(buffers.parameters + at, elements);
    if (!frozen) {
      const auto factors = rule.factors(segment, now, step.updates);
      rule.template update<Aligned>(buffers, segment, factors, step.gradient, at, elements, p);
      store_quad<Aligned>(buffers.parameters + at, p, elements);
    }
    if (Averages) {
      Quad average = load_quad<Aligned>(buffers.averages + at, elements);
#pragma unroll
      for (int i = 0; i < kStep; ++i) {
        scalar::average_update(average.lane[i], p.lane[i], step.averaging);
      }
      store_quad<Aligned>(buffers.averages + at, average, elements);
    }
  });
}

/// value[0 .. kThreads) summed into value[0], in a fixed order.
__device__ void sum_over_block(float (&value)[kThreads]) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) value[thread] += value[thread + half];
  }
  __syncthreads();
}

struct SquaresShared {
  float sum[kThreads];
};

/// The sum of the squares of the unscaled gradients; the last block decides. rows: one a block.
template <bool Aligned>
__global__ void __launch_bounds__(kThreads)
    examine_kernel(ExamineDesc desc, const float* __restrict__ gradients,
                   const ParameterSegment* __restrict__ segments, int count,
                   const StepState* __restrict__ state, GradientState* gradient_state,
                   RowSums rows) {
  auto& memory = shared<SquaresShared>();
  const int64_t stripes = count == 0 ? 0 : (end_of(segments, count) + kStripe - 1) / kStripe;
  const int64_t all = gridDim.x;
  const auto blocks = static_cast<int>(stripes < 1 ? 1 : stripes < all ? stripes : all);
  if (static_cast<int>(blockIdx.x) >= blocks) return;  // there is nothing for it
  float sum = 0;
  if (count > 0) {
    const float factor = scalar::unscaling(*state, gradient_state->loss_scale);
    for_quads(segments, count, [&](const ParameterSegment& segment, int64_t at, int elements) {
      if (segment.lr_scale == 0.0f) return;
      const Quad g = load_quad<Aligned>(gradients + at, elements);
#pragma unroll
      for (int i = 0; i < kStep; ++i) {
        const float unscaled = g.lane[i] * factor;
        sum += unscaled * unscaled;
      }
    });
  }
  memory.sum[threadIdx.x] = sum;
  sum_over_block(memory.sum);
  if (threadIdx.x == 0) *rows.row(blockIdx.x) = memory.sum[0];
  rows.first(blocks).finish<1>(
      blockIdx.x, 0, 1, [](int, int) { return int64_t{0}; },
      [&](int, const double(&squares)[1]) {
        scalar::examine(desc, *state, squares[0], *gradient_state);
      });
}

/// How many parameters there are is known to the device alone, hence a fixed grid.
constexpr int kBlocks = 2 * kShareBlocks;

bool aligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % sizeof(Quad) == 0; }

class CudaOptimOps final : public OptimOps {
 public:
  explicit CudaOptimOps(Stream& stream) : stream_(stream) {}

  size_t workspace_bytes(int64_t) const override { return RowSums::bytes(kBlocks, 1); }

  void examine(const ExamineDesc& desc, const float* gradients,
               std::span<const ParameterSegment> segments, const StepState* state,
               GradientState* gradient_state, void* workspace) override {
    const int blocks = segments.empty() ? 1 : kBlocks;
    launch(stream_, aligned(gradients) ? examine_kernel<true> : examine_kernel<false>,
           static_cast<unsigned>(blocks), kThreads, 0, desc, gradients, segments.data(),
           static_cast<int>(segments.size()), state, gradient_state,
           RowSums(stream_, workspace, blocks, 1));
  }

  void sgd(const SgdDesc& desc, const OptimBuffers& buffers,
           std::span<const ParameterSegment> segments, const StepState* state,
           const GradientState* gradient_state) override {
    update(Sgd{desc}, buffers, segments, state, gradient_state);
  }

  void adamw(const AdamWDesc& desc, const OptimBuffers& buffers,
             std::span<const ParameterSegment> segments, const StepState* state,
             const GradientState* gradient_state) override {
    update(AdamW{desc, scalar::log_betas(desc)}, buffers, segments, state, gradient_state);
  }

 private:
  template <typename Rule>
  void update(const Rule& rule, const OptimBuffers& b, std::span<const ParameterSegment> segments,
              const StepState* state, const GradientState* gradient_state) {
    if (segments.empty()) return;
    const bool quads = aligned(b.parameters) && aligned(b.gradients) && aligned(b.moment1) &&
                       aligned(b.moment2) && aligned(b.averages);
    const bool averages = b.averages != nullptr;
    const auto kernel =
        quads ? (averages ? update_kernel<Rule, true, true> : update_kernel<Rule, true, false>)
              : (averages ? update_kernel<Rule, false, true> : update_kernel<Rule, false, false>);
    launch(stream_, kernel, kBlocks, kThreads, 0, rule, b, segments.data(),
           static_cast<int>(segments.size()), state, gradient_state);
  }

  Stream& stream_;
};

}  // namespace

std::unique_ptr<OptimOps> make_optim_ops(Stream& stream) {
  return std::make_unique<CudaOptimOps>(stream);
}

}  // namespace macadam::cuda
