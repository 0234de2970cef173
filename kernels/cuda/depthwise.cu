// Depthwise convolution: one K x K filter a channel. Floors: forward size(x) + size(y) bytes,
// backward_data size(dy) + size(dx), and the filters, which are nothing beside them. Arithmetic,
// 2 K^2 flops an element of the larger map, stays below that for 3 x 3 and meets it at 5 x 5 in
// 16 bits.

#include <string>
#include <type_traits>

#include "base/round_up.h"
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/depthwise.cuh"
#include "kernels/cuda/depthwise.h"

namespace macadam::cuda {

namespace {

/// Threads of a block of a small map, which larger ones would leave to few multiprocessors.
constexpr int kLeastThreads = 64;

/// How a map is cut into blocks of lanes x strips x rows threads, the channels fastest. A row of
/// the grid is an image.
struct StripLayout {
  int channels, height, width;  // of the map that is written
  int in_height, in_width;
  int strips = 1, rows = 1;  // of a block
  unsigned tiles = 0;        // blocks of an image
  Divisor lanes, strips_of_block, channel_tiles, column_tiles;

  /// `per_thread`: channels of a thread.
  template <typename Window>
  StripLayout(const Shape& out, const Shape& in, int per_thread, const Window& window)
      : channels(out.c), height(out.h), width(out.w), in_height(in.h), in_width(in.w) {
    constexpr int64_t kProcessors = kShareBlocks / kShareBlocksPerProcessor;
    const ChannelTiles split(out.c, per_thread);
    lanes = Divisor(split.lanes);
    channel_tiles = Divisor(split.tiles);
    for (int threads = kThreads; threads >= kLeastThreads; threads /= 2) {
      choose_rectangle(window, threads / split.lanes);
      if (int64_t{tiles} * out.n >= kProcessors) break;
    }
  }

  unsigned threads() const { return lanes.value() * static_cast<unsigned>(strips * rows); }

 private:
  /// The rectangle of at most `places` strips whose blocks together read least.
  template <typename Window>
  void choose_rectangle(const Window& window, int places) {
    const int strips_of_row = (width + window.shift() + Window::kPixels - 1) / Window::kPixels;
    int64_t least = 0, columns_best = 0, rows_best = 0;
    for (int s = 1; s <= places; s *= 2) {
      const int r = std::min(places / s, height);
      const int64_t across = (strips_of_row + s - 1) / s, down = (height + r - 1) / r;
      const int64_t read = across * down * Window::reach(s * Window::kPixels) * Window::reach(r);
      if (s > 1 && read >= least) continue;
      least = read;
      strips = s;
      rows = r;
      columns_best = across;
      rows_best = down;
    }
    strips_of_block = Divisor(strips);
    column_tiles = Divisor(columns_best);
    tiles = blocks_for(channel_tiles.value() * columns_best * rows_best, 1);
  }
};

/// What follows the sums.
struct Epilogue {
  const float* bias = nullptr;
  Activation activation = Activation::identity;
};

/// y = x through the filters, [tap][channel] from `filter`, `tap_step` elements from tap to tap
/// (a negative step reads them flipped).
template <typename T, int V, typename Window>
__global__ void __launch_bounds__(kThreads, 2)
    depthwise_kernel(StripLayout layout, Window window, const T* __restrict__ x,
                     const T* __restrict__ filter, int tap_step, Epilogue epilogue,
                     T* __restrict__ y) {
  constexpr int K = Window::kTaps, P = Window::kPixels;
  const uint32_t tile = blockIdx.x, thread = threadIdx.x;
  const uint32_t place = layout.lanes.quotient(thread),
                 lane = thread - place * layout.lanes.value();
  const uint32_t part = layout.channel_tiles.quotient(tile);
  const uint32_t tile_h = layout.column_tiles.quotient(part);
  const uint32_t tile_w = part - tile_h * layout.column_tiles.value();
  const uint32_t channel_tile = tile - part * layout.channel_tiles.value();
  const auto row = static_cast<int>(layout.strips_of_block.quotient(place));
  const int strip = static_cast<int>(place) - row * layout.strips;

  const int channel = static_cast<int>(channel_tile * layout.lanes.value() + lane) * V;
  const int h = static_cast<int>(tile_h) * layout.rows + row;
  const int w = (static_cast<int>(tile_w) * layout.strips + strip) * P - window.shift();
  if (channel >= layout.channels || h >= layout.height || w >= layout.width) return;

  float sum[P][V] = {};
  if (epilogue.bias != nullptr) {
    float bias[V];
    load_aligned<V>(epilogue.bias + channel, bias);
#pragma unroll
    for (int o = 0; o < P; ++o) {
#pragma unroll
      for (int i = 0; i < V; ++i) sum[o][i] = bias[i];
    }
  }

  const auto image = static_cast<int64_t>(blockIdx.y);
  const int first_column = window.first_column(w);
#pragma unroll 1
  for (int kh = window.first_tap(h); kh < K; kh += Window::kTapStep) {
    const int in_row = window.row(h, kh);
    if (static_cast<unsigned>(in_row) >= static_cast<unsigned>(layout.in_height)) continue;
    const T* pixels =
        x + (image * layout.in_height + in_row) * layout.in_width * layout.channels + channel;
    float taps[K][V];
#pragma unroll
    for (int kw = 0; kw < K; ++kw) {
      load_aligned<V>(filter + (kh * K + kw) * tap_step + channel, taps[kw]);
    }
#pragma unroll
    for (int j = 0; j < Window::kColumns; ++j) {
      float v[V];
      load_pixel(pixels, first_column + j, layout.in_width, layout.channels, v);
#pragma unroll
      for (int o = 0; o < P; ++o) {
        const int kw = Window::tap(j, o);
        if (kw < 0 || kw >= K) continue;
#pragma unroll
        for (int i = 0; i < V; ++i) sum[o][i] += v[i] * taps[kw][i];
      }
    }
  }

  T* out = y + (image * layout.height + h) * layout.width * layout.channels + channel;
#pragma unroll
  for (int o = 0; o < P; ++o) {
    if (static_cast<unsigned>(w + o) >= static_cast<unsigned>(layout.width)) continue;
    activate(epilogue.activation, sum[o]);
    store_aligned<V>(out + (w + o) * layout.channels, sum[o]);
  }
}

/// Weights {C,k,k,1} as [tap][channel] in T, and the bias.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    pack_kernel(const float* __restrict__ weights, const float* __restrict__ bias, int taps,
                Divisor channels, T* __restrict__ filter, float* __restrict__ packed_bias) {
  const uint32_t i = blockIdx.x * kThreads + threadIdx.x;
  const uint32_t tap = channels.quotient(i), channel = i - tap * channels.value();
  if (tap >= static_cast<uint32_t>(taps)) return;
  filter[i] = narrow<T>(weights[channel * static_cast<uint32_t>(taps) + tap]);
  if (bias != nullptr && tap == 0) packed_bias[channel] = bias[channel];
}

/// Calls f(integral_constant K) with the filter's size.
template <typename F>
void visit_size(int size, F&& f) {
  if (size == 3) {
    f(std::integral_constant<int, 3>{});
  } else {
    f(std::integral_constant<int, 5>{});
  }
}

class DepthwiseConvolution final : public Convolution {
 public:
  DepthwiseConvolution(Stream& stream, const ConvDesc& desc)
      : stream_(stream), desc_(desc), taps_(desc.kernel_h * desc.kernel_w) {
    require(is_depthwise(desc), "a convolution that is_depthwise() accepts");
    for (const Shape& shape : {desc.input, desc.output()}) {
      require(shape.h > 0 && shape.w > 0, "a convolution with a non-empty output");
      require(shape.n < (1 << 16) && int64_t{shape.w} * shape.c < (int64_t{1} << 31),
              "a batch of fewer than 2^16 images, with fewer than 2^31 values a row");
    }
  }

  size_t workspace_bytes() const override {
    return desc_.backward ? depthwise_weight_gradient_workspace_bytes(desc_) : 0;
  }

  size_t packed_bytes() const override {
    return bias_offset() + (desc_.bias ? static_cast<size_t>(desc_.out_channels) * 4 : 0);
  }

  std::string implementation() const override {
    const std::string size = std::to_string(desc_.kernel_h);
    return "depthwise " + size + "x" + size;
  }

  void pack(const Tensor& weights, const Tensor& bias, void* packed) override {
    require(weights.shape == desc_.weights() && weights.dense(), "weights {C,k,k,1}");
    require(!desc_.bias || bias.shape == Shape{1, 1, 1, desc_.out_channels}, "a bias {1,1,1,C}");
    visit_float(desc_.dtype, [&](auto type) {
      using T = decltype(type);
      launch(stream_, pack_kernel<T>, blocks_for(weights.shape.elements()), kThreads, 0,
             weights.as<float>(), desc_.bias ? bias.as<float>() : nullptr, taps_,
             Divisor(desc_.out_channels), static_cast<T*>(packed),
             reinterpret_cast<float*>(static_cast<std::byte*>(packed) + bias_offset()));
    });
  }

  std::vector<Cast> casts(const Tensor& weights, const Tensor&, void* packed) const override {
    if (desc_.bias) return {};  // which stays fp32
    const Shape taps{taps_, 1, 1, desc_.out_channels};
    return {{weights, Tensor(packed, taps, desc_.dtype, weights.device), true}};
  }

  void forward(const Tensor& x, const void* packed, const Tensor& y, void*) override {
    require_shapes(x, y);
    Epilogue epilogue;
    if (desc_.bias) {
      epilogue.bias =
          reinterpret_cast<const float*>(static_cast<const std::byte*>(packed) + bias_offset());
    }
    epilogue.activation = desc_.activation;
    const int top = desc_.padding.top, left = desc_.padding.left;
    visit_size(desc_.kernel_h, [&](auto size) {
      constexpr int K = size;
      if (desc_.stride == 1) {
        run(x, packed, false, epilogue, y, [=](auto width) {
          return ForwardWindow<K, 1, strip_of(width, K, 1)>{top, left};
        });
      } else {
        run(x, packed, false, epilogue, y, [=](auto width) {
          return ForwardWindow<K, 2, strip_of(width, K, 2)>{top, left};
        });
      }
    });
  }

  void backward_data(const Tensor& dy, const void* packed, const Tensor& dx, void*) override {
    require_shapes(dx, dy);
    const int top = desc_.padding.top, left = desc_.padding.left;
    visit_size(desc_.kernel_h, [&](auto size) {
      constexpr int K = size;
      if (desc_.stride == 1) {
        run(dy, packed, true, Epilogue{}, dx, [=](auto width) {
          return ForwardWindow<K, 1, strip_of(width, K, 1)>{K - 1 - top, K - 1 - left};
        });
      } else {
        run(dy, packed, false, Epilogue{}, dx, [=](auto) { return GatherWindow<K>{top, left}; });
      }
    });
  }

  void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw,
                        void* workspace) override {
    require_shapes(x, dy);
    require(dw.shape == desc_.weights() && dw.dense(), "a weight gradient {C,k,k,1}");
    depthwise_weight_gradient(stream_, desc_, x, dy, dw, workspace);
  }

 private:
  void require_shapes(const Tensor& x, const Tensor& y) const {
    require(x.shape == desc_.input && x.dtype == desc_.dtype && x.dense(),
            "x as the convolution was made for");
    require(y.shape == desc_.output() && y.dtype == desc_.dtype && y.dense(),
            "y as the convolution was made for");
  }

  /// Where the bias lies behind the packed weights.
  size_t bias_offset() const {
    const size_t bytes = static_cast<size_t>(desc_.weights().elements()) * size_of(desc_.dtype);
    return round_up(bytes, 64);
  }

  /// `window_of` gives the window for an integral_constant of channels a thread.
  template <typename WindowOf>
  void run(const Tensor& in, const void* packed, bool flipped, const Epilogue& epilogue,
           const Tensor& out, const WindowOf& window_of) {
    visit_float(desc_.dtype, [&](auto type) {
      using T = decltype(type);
      const auto with_width = [&](auto width) {
        constexpr int V = width;
        const auto window = window_of(width);
        using Window = std::remove_const_t<decltype(window)>;
        const StripLayout layout(out.shape, in.shape, V, window);
        const int channels = out.shape.c;
        const auto* filter = static_cast<const T*>(packed);
        launch(stream_, depthwise_kernel<T, V, Window>,
               dim3(layout.tiles, static_cast<unsigned>(out.shape.n)), layout.threads(), 0, layout,
               window, in.as<T>(), flipped ? filter + (taps_ - 1) * channels : filter,
               flipped ? -channels : channels, epilogue, out.as<T>());
      };
      if (whole_vectors({&in, &out}, kWidth<T>)) {
        with_width(std::integral_constant<int, kWidth<T>>{});
      } else {
        with_width(std::integral_constant<int, 1>{});
      }
    });
  }

  Stream& stream_;
  ConvDesc desc_;
  int taps_;
};

}  // namespace

bool is_depthwise(const ConvDesc& desc) {
  const bool size = desc.kernel_h == desc.kernel_w && (desc.kernel_h == 3 || desc.kernel_h == 5);
  return size && desc.groups == desc.input.c && desc.groups == desc.out_channels &&
         (desc.stride == 1 || desc.stride == 2) && desc.dilation == 1;
}

std::unique_ptr<Convolution> make_depthwise(Stream& stream, const ConvDesc& desc) {
  return std::make_unique<DepthwiseConvolution>(stream, desc);
}

}  // namespace macadam::cuda
