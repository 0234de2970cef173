#pragma once
// The passes of a batch norm with a residual addition behind it. Floors, in passes over a tensor of
// x's size: train 4 (x for the statistics; x, skip, y), backward 5 where dskip is dy, and 7 where
// ReLU makes another of it (x, dy, y and dskip for the sums; x, dskip, dx) or it lies elsewhere
// (one less without ReLU). Where dskip is added to, or not wanted, the second pass makes the
// gradient of the sum again.

#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/divisor.cuh"
#include "kernels/norm.h"
#include "kernels/scalar/activation.h"
#include "kernels/scalar/dropout.h"
#include "kernels/scalar/normalize.h"

namespace macadam::cuda {

/// What stochastic depth multiplies a pixel by.
class SampleFactors {
 public:
  SampleFactors(const Dropout& drop, const Shape& shape)
      : pixels_(int64_t{shape.h} * shape.w),
        seed_(drop.seed),
        state_(drop.p > 0 ? drop.state : nullptr),
        layer_(drop.layer),
        threshold_(drop.threshold()),
        scale_(drop.scale()) {
    require(shape.pixels() < (int64_t{1} << 31), "batch norm: fewer than 2^31 pixels");
  }

  __device__ float of(int64_t pixel) const {
    if (state_ == nullptr) return 1;
    const uint32_t sample = pixels_.quotient(static_cast<uint32_t>(pixel));
    return scalar::dropout_keeps(seed_, state_->step, layer_, sample, threshold_) ? scale_ : 0.0f;
  }

 private:
  Divisor pixels_;
  uint64_t seed_;
  const StepState* state_;
  uint32_t layer_, threshold_;
  float scale_;
};

/// y = activation(factor * map(x) + skip).
template <typename T, typename Maps>
struct NormalizeAndAdd {
  using Element = T;
  static constexpr int kTogether = 2;
  static constexpr int kHeldTogether = 4;  // reads of what is added, before anything is written
  static constexpr int kHeldBlocksPerProcessor = 1;
  static constexpr int kBlocksPerProcessor = kShareBlocksPerProcessor;

  View<const T> x, skip;
  View<T> y;
  Maps maps;
  SampleFactors factors;
  bool relu;

  template <int V>
  struct Held {
    Chunk<T, V> x, skip;
  };

  template <int V>
  struct Work {
    NormalizeAndAdd all;
    scalar::Affine map[V];
    int channel;

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      held = {chunk_at<V>(all.x.at(pixel, channel)), chunk_at<V>(all.skip.at(pixel, channel))};
    }
    __device__ void take(int64_t pixel, const Held<V>& held) const {
      const float factor = all.factors.of(pixel);
      float v[V];
#pragma unroll
      for (int i = 0; i < V; ++i) {
        v[i] = map[i](widen(held.x.lane[i])) * factor + widen(held.skip.lane[i]);
        if (all.relu) v[i] = scalar::relu(v[i]);
      }
      store<V>(all.y.at(pixel, channel), V, v);
    }
    template <typename Kept>
    __device__ Held<V> complete(int64_t pixel, const Kept& kept) const {
      return {kept.x, chunk_at<V>(all.skip.at(pixel, channel))};
    }
  };

  template <int V>
  __device__ Work<V> start(int channel) const {
    Work<V> work{*this, {}, channel};
#pragma unroll
    for (int i = 0; i < V; ++i) work.map[i] = maps(channel + i);
    return work;
  }
};

/// The gradient of the sum, ReLU's where `Relu`.
template <typename T, bool Relu>
struct SumGradient {
  View<const T> dy, y;

  template <int V>
  struct Held {
    Chunk<T, V> dy, y;
  };

  template <int V>
  __device__ void fetch(int64_t pixel, int channel, Held<V>& held) const {
    held.dy = chunk_at<V>(dy.at(pixel, channel));
    if (Relu) held.y = chunk_at<V>(y.at(pixel, channel));
  }
  template <int V>
  __device__ static float value(const Held<V>& held, int i) {
    const float g = widen(held.dy.lane[i]);
    return Relu ? scalar::Relu{}.gradient(widen(held.y.lane[i]), g) : g;
  }
};

/// What the registers of the two gradient passes allow.
constexpr int kAddedGradientBlocksPerProcessor = 3;

/// Sums of g and g * (x - mean), g being factor times the gradient of the sum, which is handed on
/// to what was added.
template <typename T, bool Relu>
struct AddedGradientSums {
  using Element = T;
  static constexpr int kSums = 2;
  static constexpr int kTogether = 2;
  static constexpr int kHeldTogether = 2;
  static constexpr int kHeldBlocksPerProcessor = 1;
  static constexpr int kBlocksPerProcessor = kAddedGradientBlocksPerProcessor;

  View<const T> x;
  SumGradient<T, Relu> sum;
  View<T> dskip;  // null data: not written
  bool accumulate;
  const float* mean;
  SampleFactors factors;

  template <int V>
  struct Held {
    Chunk<T, V> x, before;
    typename SumGradient<T, Relu>::template Held<V> sum;
  };
  template <int V>
  struct Kept {
    Chunk<T, V> x, gradient;
  };

  template <int V>
  struct Work {
    AddedGradientSums all;
    int channel;
    float mean[V];

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      held.x = chunk_at<V>(all.x.at(pixel, channel));
      all.sum.fetch(pixel, channel, held.sum);
      if (all.accumulate) held.before = chunk_at<V>(all.dskip.at(pixel, channel));
    }
    __device__ void take(int64_t pixel, const Held<V>& held, float (&sums)[2][V]) const {
      const float factor = all.factors.of(pixel);
      float next[V];
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const float gradient = all.sum.value(held.sum, i), g = gradient * factor;
        sums[0][i] += g;
        sums[1][i] += g * (widen(held.x.lane[i]) - mean[i]);
        next[i] = all.accumulate ? widen(held.before.lane[i]) + gradient : gradient;
      }
      if (all.dskip.data != nullptr) store<V>(all.dskip.at(pixel, channel), V, next);
    }
    __device__ void keep(const Held<V>& held, Kept<V>& kept) const {
      kept.x = held.x;
#pragma unroll
      for (int i = 0; i < V; ++i) kept.gradient.lane[i] = narrow<T>(all.sum.value(held.sum, i));
    }
  };

  template <int V>
  __device__ Work<V> start(int channel) const {
    Work<V> work{*this, channel, {}};
#pragma unroll
    for (int i = 0; i < V; ++i) work.mean[i] = mean[channel + i];
    return work;
  }
};

/// dx from the same gradient.
template <typename T, bool Relu>
struct AddedInputGradient {
  using Element = T;
  static constexpr int kTogether = 2;
  static constexpr int kBlocksPerProcessor = kAddedGradientBlocksPerProcessor;

  View<const T> x;
  SumGradient<T, Relu> sum;
  View<T> dx;
  const scalar::BatchNormGradient* map;
  SampleFactors factors;

  template <int V>
  struct Held {
    Chunk<T, V> x;
    typename SumGradient<T, Relu>::template Held<V> sum;
  };

  template <int V>
  struct Work {
    AddedInputGradient all;
    scalar::BatchNormGradient map[V];
    int channel;

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      held.x = chunk_at<V>(all.x.at(pixel, channel));
      all.sum.fetch(pixel, channel, held.sum);
    }
    __device__ void take(int64_t pixel, const Held<V>& held) const {
      const float factor = all.factors.of(pixel);
      float dx[V];
#pragma unroll
      for (int i = 0; i < V; ++i) {
        dx[i] = map[i](all.sum.value(held.sum, i) * factor, widen(held.x.lane[i]));
      }
      store<V>(all.dx.at(pixel, channel), V, dx);
    }
    template <typename Kept>
    __device__ Held<V> complete(int64_t, const Kept& kept) const {
      return {kept.x, {kept.gradient, kept.gradient}};
    }
  };

  template <int V>
  __device__ Work<V> start(int channel) const {
    Work<V> work{*this, {}, channel};
#pragma unroll
    for (int i = 0; i < V; ++i) work.map[i] = map[channel + i];
    return work;
  }
};

}  // namespace macadam::cuda
