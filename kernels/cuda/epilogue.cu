// The gradient of what follows a convolution, in one pass. Floor: y, dy and dz once each, with a
// 2 x 2 pooling a quarter of that for its gradient and an eighth (in 16 bits) for its index; where
// dbias alone is wanted, dy.

#include <type_traits>

#include "base/round_up.h"
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/divisor.cuh"
#include "kernels/epilogue.h"

namespace macadam::cuda {

namespace {

/// The one window of a pooling that may hold a pixel.
struct PoolWindows {
  Divisor width, height, stride_w, stride_h;  // of the pooling's input, and its own
  int kernel_w, kernel_h, left, top;          // left, top: padding
  int out_w, out_h;

  PoolWindows() = default;
  PoolWindows(const PoolDesc& desc, const Shape& in, const Shape& out)
      : width(in.w),
        height(in.h),
        stride_w(desc.stride_w),
        stride_h(desc.stride_h),
        kernel_w(desc.kernel_w),
        kernel_h(desc.kernel_h),
        left(desc.padding.left),
        top(desc.padding.top),
        out_w(out.w),
        out_h(out.h) {
    require(in.pixels() < (int64_t{1} << 31), "an epilogue with pooling has below 2^31 pixels");
  }

  /// The output's pixel whose window holds `pixel`, at position `here`; -1 where there is none.
  __device__ int window_of(int pixel, int& here) const {
    const int row = width(pixel), w = pixel - row * static_cast<int>(width.value());
    const int image = height(row), h = row - image * static_cast<int>(height.value());
    const int oh = stride_h(h + top), kh = h + top - oh * static_cast<int>(stride_h.value());
    const int ow = stride_w(w + left), kw = w + left - ow * static_cast<int>(stride_w.value());
    here = kh * kernel_w + kw;
    const bool inside = oh < out_h && kh < kernel_h && ow < out_w && kw < kernel_w;
    return inside ? (image * out_h + oh) * out_w + ow : -1;
  }
};

/// A source of column_sums whose one sum is dbias, and which stores dz on the way. Views of what is
/// not there, or not needed, are null.
template <typename T, bool Pooled>
struct EpilogueGradient {
  using Element = T;
  static constexpr int kSums = 1;
  static constexpr int kTogether = 2;
  static constexpr int kBlocksPerProcessor = Pooled ? 3 : kShareBlocksPerProcessor;

  View<const T> y, dy, dpooled;
  View<T> dz;
  View<const uint8_t> index;
  PoolWindows windows;
  Activation activation;
  float scale;

  template <int V>
  struct Direct {
    Chunk<T, V> y, dy;
  };
  template <int V>
  struct WithPool : Direct<V> {
    Chunk<T, V> dpooled;
    Chunk<uint8_t, V> chosen;
    int here;  // -1: no window holds the pixel
  };
  template <int V>
  using Held = std::conditional_t<Pooled, WithPool<V>, Direct<V>>;

  template <int V>
  struct Work {
    const EpilogueGradient& all;
    int channel;

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      if (all.y.data != nullptr) held.y = chunk_at<V>(all.y.at(pixel, channel));
      if (all.dy.data != nullptr) held.dy = chunk_at<V>(all.dy.at(pixel, channel));
      if constexpr (Pooled) {
        const int window = all.windows.window_of(static_cast<int>(pixel), held.here);
        if (window < 0) {
          held.here = -1;
        } else {
          held.dpooled = chunk_at<V>(all.dpooled.at(window, channel));
          held.chosen = chunk_at<V>(all.index.at(window, channel));
        }
      }
    }
    __device__ void take(int64_t pixel, const Held<V>& held, float (&sums)[1][V]) const {
      float d[V];
#pragma unroll
      for (int i = 0; i < V; ++i) d[i] = all.dy.data != nullptr ? widen(held.dy.lane[i]) : 0.0f;
      if constexpr (Pooled) {
        if (held.here >= 0) {
#pragma unroll
          for (int i = 0; i < V; ++i) {
            d[i] += held.chosen.lane[i] == held.here ? widen(held.dpooled.lane[i]) : 0.0f;
          }
        }
      }
      with_activation(all.activation, [&](auto kind) {
#pragma unroll
        for (int i = 0; i < V; ++i) d[i] = kind.gradient(widen(held.y.lane[i]), d[i]);
      });
#pragma unroll
      for (int i = 0; i < V; ++i) {
        d[i] *= all.scale;
        sums[0][i] += d[i];
      }
      if (all.dz.data != nullptr) store<V>(all.dz.at(pixel, channel), V, d);
    }
  };

  template <int V>
  __device__ Work<V> start(int channel) const {
    return {*this, channel};
  }
};

/// As many chunks as blocks of the kernel fit on the device at once.
template <bool Pooled>
int chunks_of(const Shape& shape) {
  return sum_chunks(shape, kShareBlocks / kShareBlocksPerProcessor *
                               EpilogueGradient<float, Pooled>::kBlocksPerProcessor);
}

/// dbias, where it is wanted, without the sums of spare channels.
struct StoreBias {
  float* dbias;  // or null
  int channels;

  __device__ void operator()(int channel, const double (&sum)[1]) const {
    if (channel < channels) dbias[channel] = static_cast<float>(sum[0]);
  }
};

class CudaEpilogueOps final : public EpilogueOps {
 public:
  explicit CudaEpilogueOps(Stream& stream) : stream_(stream) {}

  size_t workspace_bytes(Shape shape) const override {
    // Sums of dy take its spare channels along: fewer than a vector's.
    return column_sums_bytes(chunks_of<false>(shape), shape.c + kWidth<bf16> - 1, 1);
  }

  void backward(const EpilogueDesc& desc, const EpilogueTensors& t, void* workspace) override {
    check_epilogue(desc, t);
    if (computes_nothing(desc, t)) {
      if (t.dbias.data != nullptr) sum(t, workspace);
      return;
    }
    visit_float(t.dz.dtype, [&](auto type) {
      using T = decltype(type);
      if (t.dpooled.data == nullptr) {
        run<T, false>(desc, t, workspace);
      } else {
        run<T, true>(desc, t, workspace);
      }
    });
  }

 private:
  template <typename T, bool Pooled>
  void run(const EpilogueDesc& desc, const EpilogueTensors& t, void* workspace) {
    const Tensor& dy = t.dy.data != nullptr ? t.dy : t.dz;
    const Tensor& y = desc.activation != Activation::identity ? t.y : t.dz;
    ColumnLayout layout = column_layout({&t.dz, &y, &dy}, chunks_of<Pooled>(t.dz.shape));
    EpilogueGradient<T, Pooled> gradient{};
    gradient.dz = view<T>(t.dz);
    if (t.dy.data != nullptr) gradient.dy = view<const T>(t.dy);
    if (desc.activation != Activation::identity) gradient.y = view<const T>(t.y);
    gradient.activation = desc.activation;
    gradient.scale = desc.scale;
    if constexpr (Pooled) {
      if (layout.vectorized && !whole_vectors({&t.dpooled, &t.index}, kWidth<T>)) {
        layout.vectorized = false;
        layout.tile = std::min(layout.channels, kTileChannels);
        layout.rows = kThreads / layout.tile;
      }
      gradient.dpooled = view<const T>(t.dpooled);
      gradient.index = view<const uint8_t>(t.index);
      gradient.windows = PoolWindows(*desc.pool, t.dz.shape, t.dpooled.shape);
    }
    const bool wanted = t.dbias.data != nullptr;
    launch_column_sums(stream_, layout, gradient,
                       StoreBias{wanted ? t.dbias.as<float>() : nullptr, wanted ? t.dz.shape.c : 0},
                       workspace);
  }

  void sum(const EpilogueTensors& t, void* workspace) {
    visit_float(t.dy.dtype, [&](auto type) {
      using T = decltype(type);
      constexpr int V = kWidth<T>;
      Tensor dy = t.dy;
      if (whole_vectors_with_spare({&dy}, V)) dy.shape.c = round_up(dy.shape.c, V);
      EpilogueGradient<T, false> gradient{};
      gradient.dy = view<const T>(dy);
      gradient.scale = 1;
      launch_column_sums(stream_, column_layout({&dy}, chunks_of<false>(t.dy.shape)), gradient,
                         StoreBias{t.dbias.as<float>(), t.dy.shape.c}, workspace);
    });
  }

  Stream& stream_;
};

}  // namespace

std::unique_ptr<EpilogueOps> make_epilogue_ops(Stream& stream) {
  return std::make_unique<CudaEpilogueOps>(stream);
}

}  // namespace macadam::cuda
