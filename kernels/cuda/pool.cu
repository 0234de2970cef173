// Pooling. Floors: forward size(x) + size(y), and size(y) / size of an element more for the index;
// backward the same bytes, the gradients in place of the values.

#include <type_traits>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/spatial.cuh"
#include "kernels/pool.h"
#include "kernels/scalar/compare.h"
#include "kernels/scalar/pool.h"

namespace macadam::cuda {

namespace {

using scalar::Range;

/// The windows of a call. With K > 0 the kernel is K x K and the stride S, known to the compiler.
template <int K, int S>
struct Windows {
  static constexpr int kKernel = K;

  PoolDesc desc;
  int in_h, in_w, out_h, out_w;

  __device__ int kernel_h() const { return K > 0 ? K : desc.kernel_h; }
  __device__ int kernel_w() const { return K > 0 ? K : desc.kernel_w; }
  __device__ int stride_h() const { return K > 0 ? S : desc.stride_h; }
  __device__ int stride_w() const { return K > 0 ? S : desc.stride_w; }
  /// The input pixel of window position 0.
  __device__ int top(int h) const { return h * stride_h() - desc.padding.top; }
  __device__ int left(int w) const { return w * stride_w() - desc.padding.left; }
  /// Whether the window at that input pixel lies inside the input.
  __device__ bool inside(int top, int left) const {
    return top >= 0 && top + kernel_h() <= in_h && left >= 0 && left + kernel_w() <= in_w;
  }
  // Grids are averages', whose windows are of no size that the compiler knows.
  __device__ bool grid() const { return K == 0 && desc.grid_h > 0; }
  __device__ Range window_h(int h) const {
    if (grid()) return scalar::grid_window(h, desc.grid_h, in_h);
    return scalar::pool_window(h, kernel_h(), stride_h(), desc.padding.top, in_h);
  }
  __device__ Range window_w(int w) const {
    if (grid()) return scalar::grid_window(w, desc.grid_w, in_w);
    return scalar::pool_window(w, kernel_w(), stride_w(), desc.padding.left, in_w);
  }
  /// Their product divides an average's sum.
  __device__ int count_h(int h) const {
    if (grid()) return size(window_h(h));
    return scalar::pool_count(h, kernel_h(), stride_h(), desc.padding.top, desc.padding.bottom,
                              in_h, desc.count_padding);
  }
  __device__ int count_w(int w) const {
    if (grid()) return size(window_w(w));
    return scalar::pool_count(w, kernel_w(), stride_w(), desc.padding.left, desc.padding.right,
                              in_w, desc.count_padding);
  }
  __device__ Range readers_h(int h) const {
    if (grid()) return scalar::grid_readers(h, desc.grid_h, in_h);
    return scalar::pool_readers(h, kernel_h(), stride_h(), desc.padding.top, out_h);
  }
  __device__ Range readers_w(int w) const {
    if (grid()) return scalar::grid_readers(w, desc.grid_w, in_w);
    return scalar::pool_readers(w, kernel_w(), stride_w(), desc.padding.left, out_w);
  }

 private:
  __device__ static int size(Range range) { return range.end - range.begin; }
};

template <typename T, bool Aligned, typename W>
__global__ void __launch_bounds__(kThreads)
    max_kernel(SpatialLayout layout, View<const T> x, View<T> y, uint8_t* __restrict__ index,
               W windows) {
  constexpr int V = kWidth<T>;
  Place at;
  if (!layout.place(at)) return;
  const int top = windows.top(at.h), left = windows.left(at.w);
  const int64_t image = static_cast<int64_t>(at.n) * windows.in_h;

  float best[V];
  int chosen[V];
  bool first = true;
  const auto visit = [&](int kh, int kw, auto inside) {
    const int h = top + kh, w = left + kw;
    if (!inside && (h < 0 || h >= windows.in_h || w < 0 || w >= windows.in_w)) return;
    float v[V];
    load_channels<Aligned>(x.at((image + h) * windows.in_w + w, at.channel), at.count, v);
    const int position = kh * windows.kernel_w() + kw;
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const bool wins = first || scalar::pool_wins(v[i], best[i]);
      best[i] = wins ? v[i] : best[i];
      chosen[i] = wins ? position : chosen[i];
    }
    first = false;
  };
  const auto visit_all = [&](auto inside) {
    if constexpr (W::kKernel > 0) {
#pragma unroll
      for (int k = 0; k < W::kKernel * W::kKernel; ++k) {
        visit(k / W::kKernel, k % W::kKernel, inside);
      }
    } else {
      for (int kh = 0; kh < windows.kernel_h(); ++kh) {
        for (int kw = 0; kw < windows.kernel_w(); ++kw) visit(kh, kw, inside);
      }
    }
  };
#pragma unroll
  for (int i = 0; i < V; ++i) {
    best[i] = 0.0f;
    chosen[i] = 0;
  }
  // Without a test between them, the loads of a window are in flight together.
  if (windows.inside(top, left)) {
    visit_all(std::true_type{});
  } else {
    visit_all(std::false_type{});
  }
  store_channels<Aligned>(y.at(at.pixel, at.channel), at.count, best);
  if (index == nullptr) return;
  uint8_t* out = index + at.pixel * layout.channels() + at.channel;
  if constexpr (Aligned) {
    Chunk<uint8_t, V> packed;
#pragma unroll
    for (int i = 0; i < V; ++i) packed.lane[i] = static_cast<uint8_t>(chosen[i]);
    *reinterpret_cast<Chunk<uint8_t, V>*>(out) = packed;
  } else {
#pragma unroll
    for (int i = 0; i < V; ++i) {
      if (i < at.count) out[i] = static_cast<uint8_t>(chosen[i]);
    }
  }
}

template <typename T, bool Aligned, typename W>
__global__ void __launch_bounds__(kThreads)
    max_backward_kernel(SpatialLayout layout, View<const T> dy, const uint8_t* __restrict__ index,
                        View<T> dx, W windows, bool accumulate) {
  constexpr int V = kWidth<T>;
  Place at;
  if (!layout.place(at)) return;
  const Range rows = windows.readers_h(at.h), columns = windows.readers_w(at.w);
  float sum[V] = {};
  for (int h = rows.begin; h < rows.end; ++h) {
    for (int w = columns.begin; w < columns.end; ++w) {
      const int64_t pixel = (static_cast<int64_t>(at.n) * windows.out_h + h) * windows.out_w + w;
      const int here = (at.h - windows.top(h)) * windows.kernel_w() + at.w - windows.left(w);
      const uint8_t* chosen = index + pixel * layout.channels() + at.channel;
      float v[V];
      load_channels<Aligned>(dy.at(pixel, at.channel), at.count, v);
      if constexpr (Aligned) {
        const Chunk<uint8_t, V> packed = *reinterpret_cast<const Chunk<uint8_t, V>*>(chosen);
#pragma unroll
        for (int i = 0; i < V; ++i) sum[i] += packed.lane[i] == here ? v[i] : 0.0f;
      } else {
#pragma unroll
        for (int i = 0; i < V; ++i) {
          if (i < at.count && chosen[i] == here) sum[i] += v[i];
        }
      }
    }
  }
  store_channels<Aligned>(dx.at(at.pixel, at.channel), at.count, sum, accumulate);
}

template <typename T, bool Aligned, typename W>
__global__ void __launch_bounds__(kThreads)
    average_kernel(SpatialLayout layout, View<const T> x, View<T> y, W windows) {
  constexpr int V = kWidth<T>;
  Place at;
  if (!layout.place(at)) return;
  const Range rows = windows.window_h(at.h), columns = windows.window_w(at.w);
  float sum[V] = {};
  for (int h = rows.begin; h < rows.end; ++h) {
    const int64_t row = (static_cast<int64_t>(at.n) * windows.in_h + h) * windows.in_w;
#pragma unroll 2
    for (int w = columns.begin; w < columns.end; ++w) {
      float v[V];
      load_channels<Aligned>(x.at(row + w, at.channel), at.count, v);
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] += v[i];
    }
  }
  const float scale = 1.0f / static_cast<float>(windows.count_h(at.h) * windows.count_w(at.w));
#pragma unroll
  for (int i = 0; i < V; ++i) sum[i] *= scale;
  store_channels<Aligned>(y.at(at.pixel, at.channel), at.count, sum);
}

template <typename T, bool Aligned, typename W>
__global__ void __launch_bounds__(kThreads)
    average_backward_kernel(SpatialLayout layout, View<const T> dy, View<T> dx, W windows,
                            bool accumulate) {
  constexpr int V = kWidth<T>;
  Place at;
  if (!layout.place(at)) return;
  const Range rows = windows.readers_h(at.h), columns = windows.readers_w(at.w);
  float sum[V] = {};
  for (int h = rows.begin; h < rows.end; ++h) {
    const int count_h = windows.count_h(h);
    for (int w = columns.begin; w < columns.end; ++w) {
      const int64_t pixel = (static_cast<int64_t>(at.n) * windows.out_h + h) * windows.out_w + w;
      const float scale = 1.0f / static_cast<float>(count_h * windows.count_w(w));
      float v[V];
      load_channels<Aligned>(dy.at(pixel, at.channel), at.count, v);
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] += v[i] * scale;
    }
  }
  store_channels<Aligned>(dx.at(at.pixel, at.channel), at.count, sum, accumulate);
}

/// Calls f(storage type, bool_constant aligned, windows), with the window's size and stride as
/// constants where the networks of the day use them.
template <typename F>
void dispatch(const PoolDesc& desc, const Shape& in, const Shape& out, DType dtype, bool aligned,
              F&& f) {
  require(out == desc.output(in), "the output has the shape that the description gives");
  const auto is = [&](int kernel, int stride) {
    return desc.kernel_h == kernel && desc.kernel_w == kernel && desc.stride_h == stride &&
           desc.stride_w == stride;
  };
  const auto with_windows = [&](auto type, auto vectors) {
    if (desc.is_grid()) {
      f(type, vectors, Windows<0, 0>{desc, in.h, in.w, out.h, out.w});
    } else if (is(2, 2)) {
      f(type, vectors, Windows<2, 2>{desc, in.h, in.w, out.h, out.w});
    } else if (is(3, 2)) {
      f(type, vectors, Windows<3, 2>{desc, in.h, in.w, out.h, out.w});
    } else {
      f(type, vectors, Windows<0, 0>{desc, in.h, in.w, out.h, out.w});
    }
  };
  visit_float(dtype, [&](auto type) {
    if (aligned) {
      with_windows(type, std::true_type{});
    } else {
      with_windows(type, std::false_type{});
    }
  });
}

class CudaPoolOps final : public PoolOps {
 public:
  explicit CudaPoolOps(Stream& stream) : stream_(stream) {}

  void max(const PoolDesc& desc, const Tensor& x, const Tensor& y, const Tensor& index) override {
    require(!desc.is_grid() && desc.kernel_h * desc.kernel_w <= 255,
            "a max pooling's windows are of one size, at most 255 pixels");
    const bool indexed = index.data != nullptr;
    require(!indexed || (index.shape == y.shape && index.dense()), "a dense index of y's shape");
    const bool aligned = whole_vectors({&x, &y, indexed ? &index : &x}, width_of(x));
    dispatch(desc, x.shape, y.shape, x.dtype, aligned, [&](auto type, auto vectors, auto windows) {
      using T = decltype(type);
      run(max_kernel<T, decltype(vectors)::value, decltype(windows)>, y, view<const T>(x),
          view<T>(y), indexed ? index.as<uint8_t>() : nullptr, windows);
    });
  }

  void max_backward(const PoolDesc& desc, const Tensor& dy, const Tensor& index, const Tensor& dx,
                    bool accumulate) override {
    require(index.shape == dy.shape && index.dense(), "a dense index of dy's shape");
    const bool aligned = whole_vectors({&dy, &index, &dx}, width_of(dx));
    dispatch(desc, dx.shape, dy.shape, dx.dtype, aligned,
             [&](auto type, auto vectors, auto windows) {
               using T = decltype(type);
               run(max_backward_kernel<T, decltype(vectors)::value, decltype(windows)>, dx,
                   view<const T>(dy), index.as<uint8_t>(), view<T>(dx), windows, accumulate);
             });
  }

  void average(const PoolDesc& desc, const Tensor& x, const Tensor& y) override {
    dispatch(desc, x.shape, y.shape, x.dtype, whole_vectors({&x, &y}, width_of(x)),
             [&](auto type, auto vectors, auto windows) {
               using T = decltype(type);
               run(average_kernel<T, decltype(vectors)::value, decltype(windows)>, y,
                   view<const T>(x), view<T>(y), windows);
             });
  }

  void average_backward(const PoolDesc& desc, const Tensor& dy, const Tensor& dx,
                        bool accumulate) override {
    dispatch(desc, dx.shape, dy.shape, dx.dtype, whole_vectors({&dy, &dx}, width_of(dx)),
             [&](auto type, auto vectors, auto windows) {
               using T = decltype(type);
               run(average_backward_kernel<T, decltype(vectors)::value, decltype(windows)>, dx,
                   view<const T>(dy), view<T>(dx), windows, accumulate);
             });
  }

 private:
  /// Channels of a thread.
  static int width_of(const Tensor& tensor) { return static_cast<int>(16 / size_of(tensor.dtype)); }

  /// Runs a kernel with a thread for each channel vector of `out`.
  template <typename Kernel, typename... Arguments>
  void run(Kernel kernel, const Tensor& out, const Arguments&... arguments) {
    const SpatialLayout layout(out.shape, width_of(out));
    launch(stream_, kernel, blocks_for(layout.threads()), kThreads, 0, layout, arguments...);
  }

  Stream& stream_;
};

}  // namespace

std::unique_ptr<PoolOps> make_pool_ops(Stream& stream) {
  return std::make_unique<CudaPoolOps>(stream);
}

}  // namespace macadam::cuda
