#pragma once
// The passes of a batch norm with an activation behind it, as columns.cuh and held_columns.cuh take
// them.

#include <cmath>

#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/divisor.cuh"
#include "kernels/scalar/activation.h"
#include "kernels/scalar/normalize.h"

namespace macadam::cuda {

/// Sums of x - x0 and (x - x0)^2, x0 being the channel's first value: a spread that is small
/// against the mean survives fp32.
template <typename T>
struct Moments {
  using Element = T;
  static constexpr int kSums = 2;
  static constexpr int kTogether = 4;
  static constexpr int kHeldTogether = 4;
  static constexpr int kHeldBlocksPerProcessor = 2;
  static constexpr int kBlocksPerProcessor = kShareBlocksPerProcessor;

  View<const T> x;

  template <int V>
  struct Held {
    Chunk<T, V> x;
  };
  template <int V>
  using Kept = Held<V>;

  template <int V>
  struct Work {
    View<const T> x;
    int channel;
    float origin[V];

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      held.x = chunk_at<V>(x.at(pixel, channel));
    }
    __device__ void take(int64_t, const Held<V>& held, float (&sums)[2][V]) const {
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const float d = widen(held.x.lane[i]) - origin[i];
        sums[0][i] += d;
        sums[1][i] += d * d;
      }
    }
    __device__ void keep(const Held<V>& held, Kept<V>& kept) const { kept = held; }
  };

  template <int V>
  __device__ Work<V> start(int channel) const {
    Work<V> work{x, channel, {}};
    load<V>(x.at(0, channel), V, work.origin);
    return work;
  }
};

/// From the sums of Moments to everything that is kept, and the map of the second pass.
template <typename T>
struct FinishMoments {
  const T* first_pixel;
  const float *gamma, *beta;
  float *running_mean, *running_var, *saved_mean, *saved_inv_std;
  scalar::Affine* map;
  double count;
  float eps, momentum;

  __device__ void operator()(int channel, const double (&sums)[2]) const {
    const double sum = sums[0], square_sum = sums[1];
    const double shift = sum / count;
    const double squares = square_sum - sum * shift;
    const double var = squares > 0 ? squares / count : squares == squares ? 0 : squares;
    const auto mean = static_cast<float>(widen(first_pixel[channel]) + shift);
    const auto inv_std = static_cast<float>(1 / std::sqrt(var + static_cast<double>(eps)));
    const double unbiased = count > 1 ? var * count / (count - 1) : var;
    saved_mean[channel] = mean;
    saved_inv_std[channel] = inv_std;
    running_mean[channel] = (1 - momentum) * running_mean[channel] + momentum * mean;
    running_var[channel] =
        (1 - momentum) * running_var[channel] + momentum * static_cast<float>(unbiased);
    map[channel] = scalar::batch_norm(gamma[channel], beta[channel], mean, inv_std);
  }
};

/// y = activation(map(x)). `Maps` gives a channel's scalar::Affine.
template <typename T, typename Maps>
struct Normalize {
  using Element = T;
  static constexpr int kTogether = 4;
  static constexpr int kBlocksPerProcessor = kShareBlocksPerProcessor;

  View<const T> x;
  View<T> y;
  Maps maps;
  Activation activation;

  template <int V>
  struct Held {
    Chunk<T, V> x;
  };

  template <int V>
  struct Work {
    View<const T> x;
    View<T> y;
    scalar::Affine map[V];
    int channel;
    Activation activation;

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      held.x = chunk_at<V>(x.at(pixel, channel));
    }
    __device__ void take(int64_t pixel, const Held<V>& held) const {
      float v[V];
#pragma unroll
      for (int i = 0; i < V; ++i) v[i] = map[i](widen(held.x.lane[i]));
      activate(activation, v);
      store<V>(y.at(pixel, channel), V, v);
    }
    template <typename Kept>
    __device__ Held<V> complete(int64_t, const Kept& kept) const {
      return {kept.x};
    }
  };

  template <int V>
  __device__ Work<V> start(int channel) const {
    Work<V> work{x, y, {}, channel, activation};
#pragma unroll
    for (int i = 0; i < V; ++i) work.map[i] = maps(channel + i);
    return work;
  }
};

struct StoredMaps {
  const scalar::Affine* map;

  __device__ scalar::Affine operator()(int channel) const { return map[channel]; }
};

struct RunningMaps {
  const float *gamma, *beta, *mean, *var;
  float eps;

  __device__ scalar::Affine operator()(int channel) const {
    return scalar::batch_norm(gamma[channel], beta[channel], mean[channel],
                              scalar::inverse_std(var[channel], eps));
  }
};

/// What the gradients need of a channel's forward pass.
struct SavedMaps {
  const float *gamma, *beta, *mean, *inv_std;

  __device__ scalar::Affine operator()(int channel) const {
    return scalar::batch_norm(gamma[channel], beta[channel], mean[channel], inv_std[channel]);
  }
};

/// y's gradient is dy alone.
struct NoMeans {
  template <int V>
  __device__ void add(int64_t, int, float (&)[V]) const {}
};

/// The gradient of y's means over each image, whose share every pixel has beside dy.
template <typename T>
struct MeanGradient {
  View<const T> values;  // {N, 1, 1, C}
  Divisor pixels;
  float share;

  MeanGradient(const Tensor& dmeans, const Shape& shape)
      : values(view<const T>(dmeans)),
        pixels(int64_t{shape.h} * shape.w),
        share(1.0f / static_cast<float>(pixels.value())) {
    require(shape.pixels() < (int64_t{1} << 31), "batch norm: fewer than 2^31 pixels");
  }

  template <int V>
  __device__ void add(int64_t pixel, int channel, float (&d)[V]) const {
    const uint32_t image = pixels.quotient(static_cast<uint32_t>(pixel));
    const Chunk<T, V> chunk = chunk_at<V>(values.at(image, channel));
#pragma unroll
    for (int i = 0; i < V; ++i) d[i] += widen(chunk.lane[i]) * share;
  }
};

/// What the registers of the two gradient passes allow: the activation is a type of theirs, as a
/// choice at run time would take more of them.
constexpr int kGradientBlocksPerProcessor = 3;

/// Sums of dy and dy * (x - mean).
template <typename T, typename F, typename Means>
struct GradientSums {
  using Element = T;
  static constexpr int kSums = 2;
  static constexpr int kTogether = 2;
  static constexpr int kHeldTogether = 4;
  static constexpr int kHeldBlocksPerProcessor = 1;
  static constexpr int kBlocksPerProcessor = kGradientBlocksPerProcessor;

  View<const T> x, dy;
  Means means;
  SavedMaps maps;
  F activation;

  template <int V>
  struct Held {
    Chunk<T, V> x, dy;
  };
  template <int V>
  using Kept = Held<V>;

  template <int V>
  struct Work {
    GradientSums all;
    int channel;
    scalar::Affine forward[V];
    float mean[V];

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      held = {chunk_at<V>(all.x.at(pixel, channel)), chunk_at<V>(all.dy.at(pixel, channel))};
    }
    __device__ void take(int64_t pixel, const Held<V>& held, float (&sums)[2][V]) const {
      float dy[V];
#pragma unroll
      for (int i = 0; i < V; ++i) dy[i] = widen(held.dy.lane[i]);
      all.means.add(pixel, channel, dy);
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const float v = widen(held.x.lane[i]);
        const float g = all.activation.gradient_at(forward[i](v), dy[i]);
        sums[0][i] += g;
        sums[1][i] += g * (v - mean[i]);
      }
    }
    __device__ void keep(const Held<V>& held, Kept<V>& kept) const { kept = held; }
  };

  template <int V>
  __device__ Work<V> start(int channel) const {
    Work<V> work{*this, channel, {}, {}};
#pragma unroll
    for (int i = 0; i < V; ++i) {
      work.forward[i] = maps(channel + i);
      work.mean[i] = maps.mean[channel + i];
    }
    return work;
  }
};

inline int gradient_chunks(const Shape& shape) {
  return sum_chunks(shape, kShareBlocks / kShareBlocksPerProcessor * kGradientBlocksPerProcessor);
}

struct FinishGradient {
  const float *gamma, *mean, *inv_std;
  float *dgamma, *dbeta;
  scalar::BatchNormGradient* map;
  double count;
  bool frozen;

  __device__ void operator()(int channel, const double (&sums)[2]) const {
    const auto shift = static_cast<float>(sums[0]);
    const auto scale = static_cast<float>(sums[1] * static_cast<double>(inv_std[channel]));
    dbeta[channel] = shift;
    dgamma[channel] = scale;
    map[channel] = frozen ? scalar::frozen_batch_norm_gradient(gamma[channel], inv_std[channel])
                          : scalar::batch_norm_gradient(gamma[channel], mean[channel],
                                                        inv_std[channel], scale, shift, count);
  }
};

template <typename T, typename F, typename Means>
struct InputGradient {
  using Element = T;
  static constexpr int kTogether = 2;
  static constexpr int kBlocksPerProcessor = kGradientBlocksPerProcessor;

  View<const T> x, dy;
  Means means;
  View<T> dx;
  SavedMaps maps;
  const scalar::BatchNormGradient* map;
  F activation;

  template <int V>
  struct Held {
    Chunk<T, V> x, dy;
  };

  template <int V>
  struct Work {
    InputGradient all;
    scalar::BatchNormGradient map[V];
    scalar::Affine forward[V];
    int channel;

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      held = {chunk_at<V>(all.x.at(pixel, channel)), chunk_at<V>(all.dy.at(pixel, channel))};
    }
    __device__ void take(int64_t pixel, const Held<V>& held) const {
      float dx[V], dy[V];
#pragma unroll
      for (int i = 0; i < V; ++i) dy[i] = widen(held.dy.lane[i]);
      all.means.add(pixel, channel, dy);
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const float v = widen(held.x.lane[i]);
        const float g = all.activation.gradient_at(forward[i](v), dy[i]);
        dx[i] = map[i](g, v);
      }
      store<V>(all.dx.at(pixel, channel), V, dx);
    }
    template <typename Kept>
    __device__ Held<V> complete(int64_t, const Kept& kept) const {
      return {kept.x, kept.dy};
    }
  };

  template <int V>
  __device__ Work<V> start(int channel) const {
    Work<V> work{*this, {}, {}, channel};
#pragma unroll
    for (int i = 0; i < V; ++i) {
      work.map[i] = map[channel + i];
      work.forward[i] = maps(channel + i);
    }
    return work;
  }
};

}  // namespace macadam::cuda
