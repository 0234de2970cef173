// Activations, dropout and stochastic depth. Floors: activate, dropout, dropout_backward and
// drop_path 2 x size(x), the gradients of activations 3 x, one more where the result is
// accumulated. drop_path does not read the samples that it drops.

#include "kernels/activation.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/map.cuh"
#include "kernels/scalar/activation.h"
#include "kernels/scalar/dropout.h"

namespace macadam::cuda {

namespace {

template <typename T, typename F>
struct Activate {
  static constexpr int kVector = kWidth<T>;

  View<const T> x;
  View<T> y;
  F f;

  template <int V>
  __device__ void apply(const Span& at) const {
    float v[V];
    load<V>(x.at(at.pixel, at.channel), at.count, v);
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] = f(v[i]);
    store<V>(y.at(at.pixel, at.channel), at.count, v);
  }
};

template <typename T, typename F>
struct ActivateBackward {
  static constexpr int kVector = kWidth<T>;

  View<const T> saved, dy;
  View<T> dx;
  F f;
  bool accumulate;

  template <int V>
  __device__ void apply(const Span& at) const {
    float in[V], v[V];
    load<V>(saved.at(at.pixel, at.channel), at.count, in);
    load<V>(dy.at(at.pixel, at.channel), at.count, v);
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] = f.gradient(in[i], v[i]);
    store_or_add<V>(dx.at(at.pixel, at.channel), at.count, v, accumulate);
  }
};

/// Forward (x to y) and backward (dy to dx) alike: multiplied by scale where kept.
template <typename T>
struct Drop {
  static constexpr int kVector = kWidth<T>;

  View<const T> x;
  View<T> y;
  uint64_t seed;
  const StepState* state;
  uint32_t layer, threshold;
  float scale;
  bool accumulate;

  template <int V>
  __device__ void apply(const Span& at) const {
    static_assert(scalar::kDropoutGroup % V == 0);
    const auto group = static_cast<uint32_t>(at.element / scalar::kDropoutGroup);
    const int lane = static_cast<int>(at.element % scalar::kDropoutGroup);
    const scalar::PhiloxBlock block = scalar::dropout_block(seed, state->step, layer, group);
    float v[V];
    load<V>(x.at(at.pixel, at.channel), at.count, v);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const bool keeps =
          scalar::dropout_keeps(block, V < scalar::kDropoutGroup ? lane + i : i, threshold);
      v[i] = keeps ? v[i] * scale : 0.0f;
    }
    store_or_add<V>(y.at(at.pixel, at.channel), at.count, v, accumulate);
  }
};

/// One sample a row of the grid: x and y are those of the first, `pixels` pixels each.
template <typename T>
struct DropPath {
  static constexpr int kVector = kWidth<T>;

  View<const T> x;
  View<T> y;
  int64_t pixels;
  uint64_t seed;
  const StepState* state;
  uint32_t layer, threshold;
  float scale;
  bool accumulate;

  template <int V>
  __device__ void apply(const Span& at) const {
    const uint32_t sample = blockIdx.y;
    const bool keeps = scalar::dropout_keeps(seed, state->step, layer, sample, threshold);
    if (!keeps && accumulate) return;
    const int64_t pixel = sample * pixels + at.pixel;
    float v[V] = {};
    if (keeps) {
      load<V>(x.at(pixel, at.channel), at.count, v);
#pragma unroll
      for (int i = 0; i < V; ++i) v[i] *= scale;
    }
    store_or_add<V>(y.at(pixel, at.channel), at.count, v, accumulate);
  }
};

class CudaActivationOps final : public ActivationOps {
 public:
  explicit CudaActivationOps(Stream& stream) : stream_(stream) {}

  void activate(Activation kind, const Tensor& x, const Tensor& y) override {
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      scalar::visit_activation(kind, [&](auto f) {
        launch_map(stream_, {&x, &y}, Activate<T, decltype(f)>{view<const T>(x), view<T>(y), f});
      });
    });
  }

  void activate_backward(Activation kind, const Tensor& saved, const Tensor& dy, const Tensor& dx,
                         bool accumulate) override {
    scalar::visit_activation(kind, [&](auto f) { backward(f, saved, dy, dx, accumulate); });
  }

  void dropout(const Tensor& x, const Tensor& y, const Dropout& dropout) override {
    drop(x, y, dropout, false);
  }

  void dropout_backward(const Tensor& dy, const Tensor& dx, const Dropout& dropout,
                        bool accumulate) override {
    drop(dy, dx, dropout, accumulate);
  }

  void drop_path(const Tensor& x, const Tensor& y, const Dropout& dropout,
                 bool accumulate) override {
    require(dropout.state != nullptr, "drop_path has a step state");
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      launch_map_by_sample(stream_, x, y,
                           DropPath<T>{view<const T>(x), view<T>(y), int64_t{x.shape.h} * x.shape.w,
                                       dropout.seed, dropout.state, dropout.layer,
                                       dropout.threshold(), dropout.scale(), accumulate});
    });
  }

 private:
  template <typename F>
  void backward(F f, const Tensor& saved, const Tensor& dy, const Tensor& dx, bool accumulate) {
    visit_float(saved.dtype, [&](auto type) {
      using T = decltype(type);
      launch_map(stream_, {&saved, &dy, &dx},
                 ActivateBackward<T, F>{view<const T>(saved), view<const T>(dy), view<T>(dx), f,
                                        accumulate});
    });
  }

  void drop(const Tensor& x, const Tensor& y, const Dropout& dropout, bool accumulate) {
    require(dropout.state != nullptr, "dropout has a step state");
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      launch_map(stream_, {&x, &y},
                 Drop<T>{view<const T>(x), view<T>(y), dropout.seed, dropout.state, dropout.layer,
                         dropout.threshold(), dropout.scale(), accumulate},
                 true);
    });
  }

  Stream& stream_;
};

}  // namespace

std::unique_ptr<ActivationOps> make_activation_ops(Stream& stream) {
  return std::make_unique<CudaActivationOps>(stream);
}

}  // namespace macadam::cuda
