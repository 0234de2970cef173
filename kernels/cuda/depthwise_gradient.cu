// The weight gradient of the depthwise convolution. Floor: size(x) + size(dy) bytes; the partial
// sums add a few per cent. A thread owns one row of a filter, for a vector of channels: with it the
// K row owners of a block read the same pixels of dy from the L1 cache, and each row of x, K times.

#include <type_traits>

#include "kernels/cuda/depthwise.cuh"
#include "kernels/cuda/depthwise.h"
#include "kernels/cuda/row_sums.cuh"

namespace macadam::cuda {

namespace {

/// Blocks that share the work: two fit on a multiprocessor.
constexpr int kGradientBlocks = kShareBlocks / 2;

/// Rows that a thread sums up at least.
constexpr int kLeastRows = 8;

/// How the sum is cut. A block has lanes x K filter rows x strips x rows threads, the channels
/// fastest. Its work is a run of `units` of the output: one row of `strips` neighbouring strips.
/// Units count down the rows first, so that a block sweeps a column of the image and finds the rows
/// that it read before in the L1 cache.
struct GradientLayout {
  int channels, height, width;  // of dy
  int in_height, in_width;
  int strip;         // pixels
  int strips, rows;  // of a block
  int units, chunks, channel_tiles;
  Divisor lanes, lanes_of_filter, strips_of_block, by_height, stripes;

  GradientLayout(const ConvDesc& desc, int per_thread)
      : channels(desc.input.c),
        in_height(desc.input.h),
        in_width(desc.input.w),
        strip(strip_of(per_thread, desc.kernel_h, desc.stride)) {
    const Shape out = desc.output();
    height = out.h;
    width = out.w;
    const ChannelTiles split(channels, per_thread);
    channel_tiles = split.tiles;
    const int group = split.lanes * desc.kernel_h;
    const int strips_of_row = (width + strip - 1) / strip;
    const int places = kThreads / group;
    strips = std::min(places, strips_of_row);
    rows = std::min(places / strips, height);
    const int stripes_of_row = (strips_of_row + strips - 1) / strips;
    const int64_t all = int64_t{out.n} * stripes_of_row * height;
    require(all < (int64_t{1} << 31), "a depthwise gradient has fewer than 2^31 units");
    units = static_cast<int>(all);
    const int64_t useful = (all + kLeastRows * rows - 1) / (kLeastRows * rows);
    chunks = static_cast<int>(
        std::clamp<int64_t>(useful, 1, std::max(1, kGradientBlocks / channel_tiles)));
    lanes = Divisor(split.lanes);
    lanes_of_filter = Divisor(group);
    strips_of_block = Divisor(strips);
    by_height = Divisor(height);
    stripes = Divisor(stripes_of_row);
  }

  unsigned threads() const {
    return lanes_of_filter.value() * static_cast<unsigned>(strips * rows);
  }
};

/// A row of a block's sums; the padding spreads channels over the banks.
template <int V>
struct GradientShared {
  float value[V][kThreads + 4];
};

/// rows: one a chunk, [K * K][channels].
template <typename T, int V, typename Window>
__global__ void __launch_bounds__(kThreads, 2)
    depthwise_gradient_kernel(GradientLayout layout, Window window, const T* __restrict__ x,
                              const T* __restrict__ dy, float* __restrict__ dw, RowSums rows) {
  constexpr int K = Window::kTaps, kPixels = Window::kPixels;
  auto& totals = shared<GradientShared<V>>().value;
  const auto thread = static_cast<int>(threadIdx.x);
  const auto group = static_cast<int>(layout.lanes_of_filter.value());
  const auto lanes = static_cast<int>(layout.lanes.value());
  const int place = layout.lanes_of_filter(thread), in_group = thread - place * group;
  const int kh = layout.lanes(in_group), lane = in_group - kh * lanes;
  const int row_of_block = layout.strips_of_block(place);
  const int strip = place - row_of_block * layout.strips;
  const int first_channel = static_cast<int>(blockIdx.y) * lanes * V;
  const int channel = first_channel + lane * V;

  float sums[K][V] = {};
  if (channel < layout.channels) {
    const auto chunk = static_cast<int64_t>(blockIdx.x), chunks = static_cast<int64_t>(gridDim.x);
    const auto begin = static_cast<int>(chunk * layout.units / chunks);
    const auto end = static_cast<int>((chunk + 1) * layout.units / chunks);
#pragma unroll 1
    for (int unit = begin + row_of_block; unit < end; unit += layout.rows) {
      const int column = layout.by_height(unit), h = unit - column * layout.height;
      const int image = layout.stripes(column);
      const int stripe = column - image * static_cast<int>(layout.stripes.value());
      const int w = (stripe * layout.strips + strip) * kPixels;
      const int in_row = window.row(h, kh);
      const bool inside = static_cast<unsigned>(in_row) < static_cast<unsigned>(layout.in_height);
      if (w >= layout.width || !inside) continue;

      const T* gradients =
          dy + (static_cast<int64_t>(image) * layout.height + h) * layout.width * layout.channels +
          channel;
      float d[kPixels][V];
#pragma unroll
      for (int o = 0; o < kPixels; ++o) {
        load_pixel(gradients, w + o, layout.width, layout.channels, d[o]);
      }
      const T* pixels = x +
                        (static_cast<int64_t>(image) * layout.in_height + in_row) *
                            layout.in_width * layout.channels +
                        channel;
      const int first_column = window.first_column(w);
#pragma unroll
      for (int j = 0; j < Window::kColumns; ++j) {
        float v[V];
        load_pixel(pixels, first_column + j, layout.in_width, layout.channels, v);
#pragma unroll
        for (int o = 0; o < kPixels; ++o) {
          const int kw = Window::tap(j, o);
          if (kw < 0 || kw >= K) continue;
#pragma unroll
          for (int i = 0; i < V; ++i) sums[kw][i] += v[i] * d[o][i];
        }
      }
    }
  }

  // Column kw of all filter rows at once: [kh][lane][i], summed over the places of the block.
  const int places = layout.strips * layout.rows;
  float* out = rows.row(blockIdx.x);
#pragma unroll
  for (int kw = 0; kw < K; ++kw) {
    if (kw > 0) __syncthreads();
#pragma unroll
    for (int i = 0; i < V; ++i) totals[i][thread] = sums[kw][i];
    __syncthreads();
    for (int item = thread; item < group * V; item += static_cast<int>(blockDim.x)) {
      const int source = item / V, i = item % V;
      const int tap_row = layout.lanes(source);
      const int target = first_channel + (source - tap_row * lanes) * V + i;
      if (target >= layout.channels) continue;
      float total = 0;
      for (int p = 0; p < places; ++p) total += totals[i][source + p * group];
      out[(tap_row * K + kw) * layout.channels + target] = total;
    }
  }
  const int left = layout.channels - first_channel;
  const int width = left < lanes * V ? left : lanes * V;
  rows.template finish<1>(
      blockIdx.x, blockIdx.y, K * K * width,
      [&](int i, int) {
        const int tap = i / width;
        return static_cast<int64_t>(tap) * layout.channels + first_channel + (i - tap * width);
      },
      [&](int i, const double(&total)[1]) {
        const int tap = i / width;
        dw[(first_channel + (i - tap * width)) * K * K + tap] = static_cast<float>(total[0]);
      });
}

template <typename T, int V, int K, int S>
void run(Stream& stream, const ConvDesc& desc, const Tensor& x, const Tensor& dy, const Tensor& dw,
         void* workspace) {
  const GradientLayout layout(desc, V);
  using Window = ForwardWindow<K, S, strip_of(V, K, S)>;
  const Window window{desc.padding.top, desc.padding.left};
  const RowSums rows(stream, workspace, layout.chunks, int64_t{K * K} * layout.channels,
                     layout.channel_tiles);
  launch(stream, depthwise_gradient_kernel<T, V, Window>,
         dim3(static_cast<unsigned>(layout.chunks), static_cast<unsigned>(layout.channel_tiles)),
         layout.threads(), 0, layout, window, x.as<T>(), dy.as<T>(), dw.as<float>(), rows);
}

/// Bytes of the partial sums with `per_thread` channels a thread.
size_t partial_bytes(const ConvDesc& desc, int per_thread) {
  const GradientLayout layout(desc, per_thread);
  const int64_t sums = int64_t{desc.kernel_h} * desc.kernel_w;
  return RowSums::bytes(layout.chunks, sums * layout.channels);
}

}  // namespace

size_t depthwise_weight_gradient_workspace_bytes(const ConvDesc& desc) {
  const auto width = static_cast<int>(16 / size_of(desc.dtype));
  const size_t scalar = partial_bytes(desc, 1);
  return desc.input.c % width != 0 ? scalar : std::max(scalar, partial_bytes(desc, width));
}

void depthwise_weight_gradient(Stream& stream, const ConvDesc& desc, const Tensor& x,
                               const Tensor& dy, const Tensor& dw, void* workspace) {
  visit_float(desc.dtype, [&](auto type) {
    using T = decltype(type);
    const auto with_width = [&](auto width) {
      constexpr int V = width;
      const auto with_stride = [&](auto stride) {
        constexpr int S = stride;
        if (desc.kernel_h == 3) {
          run<T, V, 3, S>(stream, desc, x, dy, dw, workspace);
        } else {
          run<T, V, 5, S>(stream, desc, x, dy, dw, workspace);
        }
      };
      if (desc.stride == 1) {
        with_stride(std::integral_constant<int, 1>{});
      } else {
        with_stride(std::integral_constant<int, 2>{});
      }
    };
    if (whole_vectors({&x, &dy}, kWidth<T>)) {
      with_width(std::integral_constant<int, kWidth<T>>{});
    } else {
      with_width(std::integral_constant<int, 1>{});
    }
  });
}

}  // namespace macadam::cuda
