// Optimisers, one launch over all parameters. Floors: SGD 20 bytes a parameter (parameter,
// gradient and moment read, parameter and moment written), AdamW 28.

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.cuh"
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

template <bool Aligned>
struct Sgd {
  SgdDesc desc;
  OptimBuffers buffers;

  __device__ void operator()(const ParameterSegment& segment, const StepState& state, int64_t at,
                             int count) const {
    const float lr = state.lr * segment.lr_scale;
    Quad p = load_quad<Aligned>(buffers.parameters + at, count);
    const Quad g = load_quad<Aligned>(buffers.gradients + at, count);
    Quad m = load_quad<Aligned>(buffers.moment1 + at, count);
#pragma unroll
    for (int i = 0; i < kStep; ++i) {
      scalar::sgd_update(p.lane[i], g.lane[i], m.lane[i], lr, segment.weight_decay, desc.momentum,
                         desc.nesterov);
    }
    store_quad<Aligned>(buffers.parameters + at, p, count);
    store_quad<Aligned>(buffers.moment1 + at, m, count);
  }
};

template <bool Aligned>
struct AdamW {
  AdamWDesc desc;
  OptimBuffers buffers;

  __device__ void operator()(const ParameterSegment& segment, const StepState& state, int64_t at,
                             int count) const {
    const scalar::AdamWFactors factors =
        scalar::adamw_factors(state.lr * segment.lr_scale, segment.weight_decay,
                              state.bias_correction1, state.bias_correction2);
    Quad p = load_quad<Aligned>(buffers.parameters + at, count);
    const Quad g = load_quad<Aligned>(buffers.gradients + at, count);
    Quad m = load_quad<Aligned>(buffers.moment1 + at, count);
    Quad v = load_quad<Aligned>(buffers.moment2 + at, count);
#pragma unroll
    for (int i = 0; i < kStep; ++i) {
      scalar::adamw_update(p.lane[i], g.lane[i], m.lane[i], v.lane[i], factors, desc.beta1,
                           desc.beta2, desc.eps);
    }
    store_quad<Aligned>(buffers.parameters + at, p, count);
    store_quad<Aligned>(buffers.moment1 + at, m, count);
    store_quad<Aligned>(buffers.moment2 + at, v, count);
  }
};

/// The blocks share the flat buffers out in stripes of kThreads * kStep elements. A thread finds
/// the segment of its elements once a stripe; elements in the gaps are passed over.
template <typename Update>
__global__ void __launch_bounds__(kThreads)
    update_kernel(Update update, const ParameterSegment* __restrict__ segments, int count,
                  const StepState* __restrict__ state) {
  constexpr int64_t kStripe = kThreads * kStep;
  const int64_t end = segments[count - 1].offset + segments[count - 1].count;
  const StepState now = *state;
  for (int64_t begin = blockIdx.x * kStripe; begin < end; begin += gridDim.x * kStripe) {
    const int64_t at = begin + threadIdx.x * kStep;
    const ParameterSegment segment = segments[segment_of(segments, count, at)];
    const int64_t left = segment.offset + segment.count - at;
    if (at < segment.offset || left <= 0 || segment.lr_scale == 0.0f) continue;
    update(segment, now, at, left < kStep ? static_cast<int>(left) : kStep);
  }
}

bool aligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % sizeof(Quad) == 0; }

class CudaOptimOps final : public OptimOps {
 public:
  explicit CudaOptimOps(Stream& stream) : stream_(stream) {}

  void sgd(const SgdDesc& desc, const OptimBuffers& buffers,
           std::span<const ParameterSegment> segments, const StepState* state) override {
    if (all_aligned(buffers)) {
      update(Sgd<true>{desc, buffers}, segments, state);
    } else {
      update(Sgd<false>{desc, buffers}, segments, state);
    }
  }

  void adamw(const AdamWDesc& desc, const OptimBuffers& buffers,
             std::span<const ParameterSegment> segments, const StepState* state) override {
    if (all_aligned(buffers)) {
      update(AdamW<true>{desc, buffers}, segments, state);
    } else {
      update(AdamW<false>{desc, buffers}, segments, state);
    }
  }

 private:
  static bool all_aligned(const OptimBuffers& b) {
    return aligned(b.parameters) && aligned(b.gradients) && aligned(b.moment1) &&
           aligned(b.moment2);
  }

  template <typename Update>
  void update(const Update& update, std::span<const ParameterSegment> segments,
              const StepState* state) {
    if (segments.empty()) return;
    // How many parameters there are is known to the device alone, hence a fixed grid.
    launch(stream_, update_kernel<Update>, 2 * kShareBlocks, kThreads, 0, update, segments.data(),
           static_cast<int>(segments.size()), state);
  }

  Stream& stream_;
};

}  // namespace

std::unique_ptr<OptimOps> make_optim_ops(Stream& stream) {
  return std::make_unique<CudaOptimOps>(stream);
}

}  // namespace macadam::cuda
