// ReLU and dropout. Floors: relu and dropout 2 x size(x), relu_backward 3 x, dropout_backward 2 x,
// one more where the result is accumulated.

#include "kernels/activation.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/map.cuh"
#include "kernels/scalar/compare.h"
#include "kernels/scalar/dropout.h"

namespace macadam::cuda {

namespace {

template <typename T>
struct Relu {
  static constexpr int kVector = kWidth<T>;

  View<const T> x;
  View<T> y;

  template <int V>
  __device__ void apply(const Span& at) const {
    float v[V];
    load<V>(x.at(at.pixel, at.channel), at.count, v);
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] = scalar::relu(v[i]);
    store<V>(y.at(at.pixel, at.channel), at.count, v);
  }
};

template <typename T>
struct ReluBackward {
  static constexpr int kVector = kWidth<T>;

  View<const T> y, dy;
  View<T> dx;
  float scale;
  bool accumulate;

  template <int V>
  __device__ void apply(const Span& at) const {
    float out[V], v[V];
    load<V>(y.at(at.pixel, at.channel), at.count, out);
    load<V>(dy.at(at.pixel, at.channel), at.count, v);
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] = out[i] > 0.0f ? v[i] * scale : 0.0f;
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

class CudaActivationOps final : public ActivationOps {
 public:
  explicit CudaActivationOps(Stream& stream) : stream_(stream) {}

  void relu(const Tensor& x, const Tensor& y) override {
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      launch_map(stream_, {&x, &y}, Relu<T>{view<const T>(x), view<T>(y)});
    });
  }

  void relu_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, float scale,
                     bool accumulate) override {
    visit_float(y.dtype, [&](auto type) {
      using T = decltype(type);
      launch_map(
          stream_, {&y, &dy, &dx},
          ReluBackward<T>{view<const T>(y), view<const T>(dy), view<T>(dx), scale, accumulate});
    });
  }

  void dropout(const Tensor& x, const Tensor& y, const Dropout& dropout) override {
    drop(x, y, dropout, false);
  }

  void dropout_backward(const Tensor& dy, const Tensor& dx, const Dropout& dropout,
                        bool accumulate) override {
    drop(dy, dx, dropout, accumulate);
  }

 private:
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
