// Copy, add and fill. Floors: a copy moves size(x) + size(y) bytes, an accumulating one
// size(x) + 2 size(y), an add size(a) + size(b) + size(y), a fill size(y).

#include <type_traits>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/map.cuh"
#include "kernels/elementwise.h"
#include "kernels/scalar/compare.h"

namespace macadam::cuda {

namespace {

template <typename X, typename Y>
struct Copy {
  View<const X> x;
  View<Y> y;
  bool accumulate;

  template <int V>
  __device__ void apply(uint32_t pixel, int64_t channel, int count) const {
    float v[V];
    load<V>(x.at(pixel, channel), count, v);
    store_or_add<V>(y.at(pixel, channel), count, v, accumulate);
  }
};

struct CopyBytes {
  View<const uint8_t> x;
  View<uint8_t> y;

  template <int V>
  __device__ void apply(uint32_t pixel, int64_t channel, int count) const {
    const uint8_t* source = x.at(pixel, channel);
    uint8_t* destination = y.at(pixel, channel);
    if (V == kVector && count == V) {
      *reinterpret_cast<uint2*>(destination) = *reinterpret_cast<const uint2*>(source);
    } else {
      for (int i = 0; i < count; ++i) destination[i] = source[i];
    }
  }
};

template <typename T>
struct Add {
  View<const T> a, b;
  View<T> y;
  bool relu;

  template <int V>
  __device__ void apply(uint32_t pixel, int64_t channel, int count) const {
    float v[V], w[V];
    load<V>(a.at(pixel, channel), count, v);
    load<V>(b.at(pixel, channel), count, w);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      v[i] += w[i];
      if (relu) v[i] = scalar::relu(v[i]);
    }
    store<V>(y.at(pixel, channel), count, v);
  }
};

/// A view whose dtype is known when the kernel runs: for the rare sums of mixed dtypes.
struct AnyView {
  void* data;
  int64_t stride;
  DType dtype;

  template <typename T>
  __device__ T* at(uint32_t pixel, int64_t channel) const {
    return static_cast<T*>(data) + pixel * stride + channel;
  }
  template <int V>
  __device__ void load_any(uint32_t pixel, int64_t channel, int count, float (&v)[V]) const {
    switch (dtype) {
      case DType::bf16: return load<V>(at<const bf16>(pixel, channel), count, v);
      case DType::f16: return load<V>(at<const f16>(pixel, channel), count, v);
      default: return load<V>(at<const float>(pixel, channel), count, v);
    }
  }
  template <int V>
  __device__ void store_any(uint32_t pixel, int64_t channel, int count, const float (&v)[V]) const {
    switch (dtype) {
      case DType::bf16: return store<V>(at<bf16>(pixel, channel), count, v);
      case DType::f16: return store<V>(at<f16>(pixel, channel), count, v);
      default: return store<V>(at<float>(pixel, channel), count, v);
    }
  }
};

AnyView any_view(const Tensor& tensor) {
  require(tensor.dtype != DType::u8, "a floating-point dtype");
  return {tensor.data, tensor.pixel_stride, tensor.dtype};
}

struct AddMixed {
  AnyView a, b, y;
  bool relu;

  template <int V>
  __device__ void apply(uint32_t pixel, int64_t channel, int count) const {
    float v[V], w[V];
    a.load_any<V>(pixel, channel, count, v);
    b.load_any<V>(pixel, channel, count, w);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      v[i] += w[i];
      if (relu) v[i] = scalar::relu(v[i]);
    }
    y.store_any<V>(pixel, channel, count, v);
  }
};

template <typename T>
struct Fill {
  View<T> y;
  float value;

  template <int V>
  __device__ void apply(uint32_t pixel, int64_t channel, int count) const {
    if constexpr (std::is_same_v<T, uint8_t>) {
      for (int i = 0; i < count; ++i) y.at(pixel, channel)[i] = static_cast<uint8_t>(value);
    } else {
      float v[V];
#pragma unroll
      for (int i = 0; i < V; ++i) v[i] = value;
      store<V>(y.at(pixel, channel), count, v);
    }
  }
};

class CudaElementwiseOps final : public ElementwiseOps {
 public:
  explicit CudaElementwiseOps(Stream& stream) : stream_(stream) {}

  void copy(const Tensor& x, const Tensor& y, bool accumulate) override {
    const MapLayout layout = map_layout({&x, &y});
    if (x.dtype == DType::u8) {
      require(y.dtype == DType::u8 && !accumulate, "u8 copies to u8, without accumulation");
      launch_map(stream_, layout, CopyBytes{view<const uint8_t>(x), view<uint8_t>(y)});
      return;
    }
    visit_float(x.dtype, [&](auto from) {
      visit_float(y.dtype, [&](auto to) {
        using X = decltype(from);
        using Y = decltype(to);
        launch_map(stream_, layout, Copy<X, Y>{view<const X>(x), view<Y>(y), accumulate});
      });
    });
  }

  void add(const Tensor& a, const Tensor& b, const Tensor& y, bool relu) override {
    const MapLayout layout = map_layout({&a, &b, &y});
    if (a.dtype != b.dtype || a.dtype != y.dtype) {
      launch_map(stream_, layout, AddMixed{any_view(a), any_view(b), any_view(y), relu});
      return;
    }
    visit_float(y.dtype, [&](auto type) {
      using T = decltype(type);
      launch_map(stream_, layout, Add<T>{view<const T>(a), view<const T>(b), view<T>(y), relu});
    });
  }

  void fill(const Tensor& y, float value) override {
    const MapLayout layout = map_layout({&y});
    if (y.dtype == DType::u8) {
      launch_map(stream_, layout, Fill<uint8_t>{view<uint8_t>(y), value});
      return;
    }
    visit_float(y.dtype, [&](auto type) {
      using T = decltype(type);
      launch_map(stream_, layout, Fill<T>{view<T>(y), value});
    });
  }

 private:
  Stream& stream_;
};

}  // namespace

std::unique_ptr<ElementwiseOps> make_elementwise_ops(Stream& stream) {
  return std::make_unique<CudaElementwiseOps>(stream);
}

}  // namespace macadam::cuda
