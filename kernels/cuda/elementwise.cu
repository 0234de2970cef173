// Copy, add, scale, fill and products. Floors: a copy or a scaling moves size(x) + size(y) bytes,
// an accumulating one size(x) + 2 size(y), an add or a product size(a) + size(b) + size(y), a fill
// size(y), cast_all the bytes of all segments on both sides.

#include <type_traits>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/map.cuh"
#include "kernels/cuda/spatial.cuh"
#include "kernels/elementwise.h"
#include "kernels/scalar/activation.h"

namespace macadam::cuda {

namespace {

template <typename X, typename Y>
struct Copy {
  static constexpr int kVector = kWidth<X, Y>;

  View<const X> x;
  View<Y> y;
  bool accumulate;

  template <int V>
  __device__ void apply(const Span& at) const {
    float v[V];
    load<V>(x.at(at.pixel, at.channel), at.count, v);
    store_or_add<V>(y.at(at.pixel, at.channel), at.count, v, accumulate);
  }
};

template <typename X, typename Y>
struct Scaled {
  static constexpr int kVector = kWidth<X, Y>;

  View<const X> x;
  View<Y> y;
  float factor;
  bool accumulate;

  template <int V>
  __device__ void apply(const Span& at) const {
    float v[V];
    load<V>(x.at(at.pixel, at.channel), at.count, v);
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] *= factor;
    store_or_add<V>(y.at(at.pixel, at.channel), at.count, v, accumulate);
  }
};

struct CopyBytes {
  static constexpr int kVector = kWidth<uint8_t>;

  View<const uint8_t> x;
  View<uint8_t> y;

  template <int V>
  __device__ void apply(const Span& at) const {
    const uint8_t* source = x.at(at.pixel, at.channel);
    uint8_t* destination = y.at(at.pixel, at.channel);
    if (V == kVector && at.count == V) {
      using Vector = Chunk<uint8_t, V>;
      *reinterpret_cast<Vector*>(destination) = *reinterpret_cast<const Vector*>(source);
    } else {
      for (int i = 0; i < at.count; ++i) destination[i] = source[i];
    }
  }
};

template <typename T>
struct Add {
  static constexpr int kVector = kWidth<T>;

  View<const T> a, b;
  View<T> y;
  float factor;
  bool relu;

  template <int V>
  __device__ void apply(const Span& at) const {
    float v[V], w[V];
    load<V>(a.at(at.pixel, at.channel), at.count, v);
    load<V>(b.at(at.pixel, at.channel), at.count, w);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      v[i] += factor * w[i];
      if (relu) v[i] = scalar::relu(v[i]);
    }
    store<V>(y.at(at.pixel, at.channel), at.count, v);
  }
};

/// A view whose dtype is known when the kernel runs: for the rare sums of mixed dtypes.
struct AnyView {
  void* data;
  int64_t stride;
  DType dtype;

  template <typename T>
  __device__ T* place(const Span& at) const {
    return static_cast<T*>(data) + at.pixel * stride + at.channel;
  }
  template <int V>
  __device__ void load_any(const Span& at, float (&v)[V]) const {
    switch (dtype) {
      case DType::bf16: return load<V>(place<const bf16>(at), at.count, v);
      case DType::f16: return load<V>(place<const f16>(at), at.count, v);
      default: return load<V>(place<const float>(at), at.count, v);
    }
  }
  template <int V>
  __device__ void store_any(const Span& at, const float (&v)[V]) const {
    switch (dtype) {
      case DType::bf16: return store<V>(place<bf16>(at), at.count, v);
      case DType::f16: return store<V>(place<f16>(at), at.count, v);
      default: return store<V>(place<float>(at), at.count, v);
    }
  }
};

AnyView any_view(const Tensor& tensor) {
  require(tensor.dtype != DType::u8, "a floating-point dtype");
  return {tensor.data, tensor.pixel_stride, tensor.dtype};
}

struct AddMixed {
  static constexpr int kVector = kWidth<float>;

  AnyView a, b, y;
  float factor;
  bool relu;

  template <int V>
  __device__ void apply(const Span& at) const {
    float v[V], w[V];
    a.load_any<V>(at, v);
    b.load_any<V>(at, w);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      v[i] += factor * w[i];
      if (relu) v[i] = scalar::relu(v[i]);
    }
    y.store_any<V>(at, v);
  }
};

template <typename T>
struct Fill {
  static constexpr int kVector = kWidth<T>;

  View<T> y;
  float value;

  template <int V>
  __device__ void apply(const Span& at) const {
    if constexpr (std::is_same_v<T, uint8_t>) {
      for (int i = 0; i < at.count; ++i) {
        y.at(at.pixel, at.channel)[i] = static_cast<uint8_t>(value);
      }
    } else {
      float v[V];
#pragma unroll
      for (int i = 0; i < V; ++i) v[i] = value;
      store<V>(y.at(at.pixel, at.channel), at.count, v);
    }
  }
};

template <typename T>
struct Multiply {
  static constexpr int kVector = kWidth<T>;

  View<const T> a, b;
  View<T> y;
  bool accumulate;

  template <int V>
  __device__ void apply(const Span& at) const {
    float v[V], w[V];
    load<V>(a.at(at.pixel, at.channel), at.count, v);
    load<V>(b.at(at.pixel, at.channel), at.count, w);
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] *= w[i];
    store_or_add<V>(y.at(at.pixel, at.channel), at.count, v, accumulate);
  }
};

/// A factor a pixel.
template <typename T, bool Aligned>
__global__ void __launch_bounds__(kThreads)
    multiply_pixels_kernel(SpatialLayout layout, View<const T> a, View<const T> factors, View<T> y,
                           bool accumulate) {
  constexpr int V = kWidth<T>;
  Place at;
  if (!layout.place(at)) return;
  const float factor = widen(*factors.at(at.pixel, 0));
  float v[V];
  load_channels<Aligned>(a.at(at.pixel, at.channel), at.count, v);
#pragma unroll
  for (int i = 0; i < V; ++i) v[i] *= factor;
  store_channels<Aligned>(y.at(at.pixel, at.channel), at.count, v, accumulate);
}

/// A thread a pixel; threads beside each other read the same lines.
template <typename T, bool Aligned>
__global__ void __launch_bounds__(kThreads)
    dot_kernel(View<const T> a, View<const T> b, View<T> y, int64_t pixels, int channels,
               bool accumulate) {
  constexpr int V = kWidth<T>;
  const int64_t pixel = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  float sum = 0.0f;
#pragma unroll 2
  for (int channel = 0; channel < channels; channel += V) {
    const int left = channels - channel, count = left < V ? left : V;
    float v[V], w[V];
    load_channels<Aligned>(a.at(pixel, channel), count, v);
    load_channels<Aligned>(b.at(pixel, channel), count, w);
#pragma unroll
    for (int i = 0; i < V; ++i) sum += v[i] * w[i];
  }
  T* const to = y.at(pixel, 0);
  *to = narrow<T>(accumulate ? widen(*to) + sum : sum);
}

/// V elements in accesses of 16 bytes.
template <int V, typename T>
__device__ __forceinline__ void load_whole(const T* source, float (&v)[V]) {
  constexpr int kPart = V < kWidth<T> ? V : kWidth<T>;
#pragma unroll
  for (int first = 0; first < V; first += kPart) {
    float part[kPart];
    load_aligned<kPart>(source + first, part);
#pragma unroll
    for (int i = 0; i < kPart; ++i) v[first + i] = part[i];
  }
}

template <int V, typename T>
__device__ __forceinline__ void store_whole(T* destination, const float (&v)[V]) {
  constexpr int kPart = V < kWidth<T> ? V : kWidth<T>;
#pragma unroll
  for (int first = 0; first < V; first += kPart) {
    float part[kPart];
#pragma unroll
    for (int i = 0; i < kPart; ++i) part[i] = v[first + i];
    store_aligned<kPart>(destination + first, part);
  }
}

/// A thread a vector; it finds the vector's segment by bisection.
template <typename X, typename Y>
__global__ void __launch_bounds__(kThreads)
    cast_kernel(const CastSegment* __restrict__ segments, int count, int64_t vectors) {
  constexpr int V = CastSegment::kVector;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= vectors) return;
  int low = 0, high = count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (segments[middle].first <= i) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  const CastSegment segment = segments[low];
  const int64_t at = (i - segment.first) * V, left = segment.count - at;
  if (segment.rows > 1) {
    const X* const matrix = static_cast<const X*>(segment.from);
    const int64_t columns = segment.count / segment.rows;
    for (int64_t k = at; k < at + V && k < segment.count; ++k) {
      const int64_t column = k / segment.rows, row = k - column * segment.rows;
      static_cast<Y*>(segment.to)[k] = narrow<Y>(widen(matrix[row * columns + column]));
    }
    return;
  }
  const X* const from = static_cast<const X*>(segment.from) + at;
  Y* const to = static_cast<Y*>(segment.to) + at;
  if (left >= V) {
    float v[V];
    load_whole<V>(from, v);
    store_whole<V>(to, v);
    return;
  }
  for (int k = 0; k < left; ++k) to[k] = narrow<Y>(widen(from[k]));
}

class CudaElementwiseOps final : public ElementwiseOps {
 public:
  explicit CudaElementwiseOps(Stream& stream) : stream_(stream) {}

  void copy(const Tensor& x, const Tensor& y, bool accumulate) override {
    if (x.dtype == DType::u8) {
      require(y.dtype == DType::u8 && !accumulate, "u8 copies to u8, without accumulation");
      launch_map(stream_, {&x, &y}, CopyBytes{view<const uint8_t>(x), view<uint8_t>(y)});
      return;
    }
    visit_float(x.dtype, [&](auto from) {
      visit_float(y.dtype, [&](auto to) {
        using X = decltype(from);
        using Y = decltype(to);
        launch_map(stream_, {&x, &y}, Copy<X, Y>{view<const X>(x), view<Y>(y), accumulate});
      });
    });
  }

  void cast_all(std::span<const CastSegment> segments, DType from, DType to,
                int64_t vectors) override {
    require(from == DType::f32 || to == DType::f32, "casts from or to fp32");
    const auto run = [&](auto kernel) {
      launch(stream_, kernel, blocks_for(vectors), kThreads, 0, segments.data(),
             static_cast<int>(segments.size()), vectors);
    };
    if (from == DType::f32) {
      visit_float(to, [&](auto type) { run(cast_kernel<float, decltype(type)>); });
    } else {
      visit_float(from, [&](auto type) { run(cast_kernel<decltype(type), float>); });
    }
  }

  void add(const Tensor& a, const Tensor& b, float factor, const Tensor& y, bool relu) override {
    if (a.dtype != b.dtype || a.dtype != y.dtype) {
      launch_map(stream_, {&a, &b, &y},
                 AddMixed{any_view(a), any_view(b), any_view(y), factor, relu});
      return;
    }
    visit_float(y.dtype, [&](auto type) {
      using T = decltype(type);
      launch_map(stream_, {&a, &b, &y},
                 Add<T>{view<const T>(a), view<const T>(b), view<T>(y), factor, relu});
    });
  }

  void scale(const Tensor& x, float factor, const Tensor& y, bool accumulate) override {
    visit_float(x.dtype, [&](auto from) {
      visit_float(y.dtype, [&](auto to) {
        using X = decltype(from);
        using Y = decltype(to);
        launch_map(stream_, {&x, &y},
                   Scaled<X, Y>{view<const X>(x), view<Y>(y), factor, accumulate});
      });
    });
  }

  void fill(const Tensor& y, float value) override {
    if (y.dtype == DType::u8) {
      launch_map(stream_, {&y}, Fill<uint8_t>{view<uint8_t>(y), value});
      return;
    }
    visit_float(y.dtype, [&](auto type) {
      using T = decltype(type);
      launch_map(stream_, {&y}, Fill<T>{view<T>(y), value});
    });
  }

  void multiply(const Tensor& a, const Tensor& b, const Tensor& y, bool accumulate) override {
    const bool factors = check_multiply(a, b, y);
    visit_float(y.dtype, [&](auto type) {
      using T = decltype(type);
      if (!factors) {
        launch_map(stream_, {&a, &b, &y},
                   Multiply<T>{view<const T>(a), view<const T>(b), view<T>(y), accumulate});
        return;
      }
      const SpatialLayout layout(y.shape, kWidth<T>);
      const bool aligned = whole_vectors({&a, &y}, kWidth<T>);
      launch(stream_, aligned ? multiply_pixels_kernel<T, true> : multiply_pixels_kernel<T, false>,
             blocks_for(layout.threads()), kThreads, 0, layout, view<const T>(a), view<const T>(b),
             view<T>(y), accumulate);
    });
  }

  void dot(const Tensor& a, const Tensor& b, const Tensor& y, bool accumulate) override {
    check_dot(a, b, y);
    visit_float(y.dtype, [&](auto type) {
      using T = decltype(type);
      const bool aligned = whole_vectors({&a, &b}, kWidth<T>);
      launch(stream_, aligned ? dot_kernel<T, true> : dot_kernel<T, false>,
             blocks_for(a.shape.pixels()), kThreads, 0, view<const T>(a), view<const T>(b),
             view<T>(y), a.shape.pixels(), a.shape.c, accumulate);
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
