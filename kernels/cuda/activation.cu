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
  View<const T> x;
  View<T> y;

  template <int V>
  __device__ void apply(uint32_t pixel, int64_t channel, int count) const {
    float v[V];
    load<V>(x.at(pixel, channel), count, v);
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] = scalar::relu(v[i]);
    store<V>(y.at(pixel, channel), count, v);
  }
};

template <typename T>
struct ReluBackward {
  View<const T> y, dy;
  View<T> dx;
  float scale;
  bool accumulate;

  template <int V>
  __device__ void apply(uint32_t pixel, int64_t channel, int count) const {
    float out[V], v[V];
    load<V>(y.at(pixel, channel), count, out);
    load<V>(dy.at(pixel, channel), count, v);
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] = out[i] > 0.0f ? v[i] * scale : 0.0f;
    store_or_add<V>(dx.at(pixel, channel), count, v, accumulate);
  }
};

/// Forward (x to y) and backward (dy to dx) alike: multiplied by scale where kept.
template <typename T>
struct Drop {
  View<const T> x;
  View<T> y;
  int64_t channels;  // of a pixel, in dense element order
  uint64_t seed;
  const StepState* state;
  uint32_t layer, threshold;
  float scale;
  bool accumulate;

  template <int V>
  __device__ void apply(uint32_t pixel, int64_t channel, int count) const {
    static_assert(scalar::kDropoutGroup % V == 0);
    const int64_t element = pixel * channels + channel;
    const auto group = static_cast<uint32_t>(element / scalar::kDropoutGroup);
    const int lane = static_cast<int>(element % scalar::kDropoutGroup);
    const scalar::PhiloxBlock block = scalar::dropout_block(seed, state->step, layer, group);
    float v[V];
    load<V>(x.at(pixel, channel), count, v);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const bool keeps = scalar::dropout_keeps(block, V == 1 ? lane : i, threshold);
      v[i] = keeps ? v[i] * scale : 0.0f;
    }
    store_or_add<V>(y.at(pixel, channel), count, v, accumulate);
  }
};

class CudaActivationOps final : public ActivationOps {
 public:
  explicit CudaActivationOps(Stream& stream) : stream_(stream) {}

  void relu(const Tensor& x, const Tensor& y) override {
    visit_float(x.dtype, [&](auto type) {
      using T = decltype(type);
      launch_map(stream_, map_layout({&x, &y}), Relu<T>{view<const T>(x), view<T>(y)});
    });
  }

  void relu_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, float scale,
                     bool accumulate) override {
    visit_float(y.dtype, [&](auto type) {
      using T = decltype(type);
      launch_map(
          stream_, map_layout({&y, &dy, &dx}),
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
      const MapLayout layout = map_layout({&x, &y}, true);
      launch_map(stream_, layout,
                 Drop<T>{view<const T>(x), view<T>(y), layout.channels, dropout.seed, dropout.state,
                         dropout.layer, dropout.threshold(), dropout.scale(), accumulate});
    });
  }

  Stream& stream_;
};

}  // namespace

std::unique_ptr<ActivationOps> make_activation_ops(Stream& stream) {
  return std::make_unique<CudaActivationOps>(stream);
}

}  // namespace macadam::cuda
