#pragma once
// Kernels that treat every element alike: one thread a vector of one pixel's channels. Where all
// tensors are dense, the whole call is one long pixel.

#include <initializer_list>

#include "kernels/cuda/divisor.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector.cuh"

namespace macadam::cuda {

/// How a map is cut into threads.
struct MapLayout {
  int64_t vectors = 0;  // in all
  int64_t channels = 0;
  Divisor vectors_per_pixel;
  bool vectorized = false;
};

/// The layout of a call on tensors of one shape, `width` elements a vector. With
/// `whole_vectors_only` no vector is cut short by the end of a pixel, unless it is the last.
inline MapLayout map_layout(std::initializer_list<const Tensor*> tensors, int width,
                            bool whole_vectors_only) {
  const Shape shape = (*tensors.begin())->shape;
  bool dense = true;
  for (const Tensor* tensor : tensors) {
    require(tensor->shape == shape, "the tensors of an elementwise call share one shape");
    dense = dense && tensor->dense();
  }
  MapLayout layout;
  layout.channels = dense ? shape.elements() : shape.c;
  layout.vectorized = dense || !whole_vectors_only || shape.c % width == 0;
  for (const Tensor* tensor : tensors) {
    const bool aligned = dense ? starts_aligned(*tensor, width) : vector_aligned(*tensor, width);
    layout.vectorized = layout.vectorized && aligned;
  }
  const int64_t per_vector = layout.vectorized ? width : 1;
  const int64_t per_pixel = (layout.channels + per_vector - 1) / per_vector;
  layout.vectors = per_pixel * (dense ? 1 : shape.pixels());
  require(layout.vectors < (int64_t{1} << 31), "an elementwise call has fewer than 2^31 vectors");
  layout.vectors_per_pixel = Divisor(per_pixel);
  return layout;
}

/// Where a thread works: `count` channels of a pixel. `element` counts in dense order.
struct Span {
  int64_t pixel, channel, element;
  int count;
};

/// Calls op.apply<V>(span) for every vector.
template <int V, typename Op>
__global__ void __launch_bounds__(kThreads)
    map_kernel(Op op, uint32_t vectors, int64_t channels, Divisor vectors_per_pixel) {
  const uint32_t i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= vectors) return;
  Span span;
  const uint32_t pixel = vectors_per_pixel.quotient(i);
  span.pixel = pixel;
  span.channel = static_cast<int64_t>(i - pixel * vectors_per_pixel.value()) * V;
  span.element = span.pixel * channels + span.channel;
  const int64_t left = channels - span.channel;
  span.count = left < V ? static_cast<int>(left) : V;
  op.template apply<V>(span);
}

/// Runs `op` over tensors of one shape, Op::kVector elements a thread.
template <typename Op>
void launch_map(Stream& stream, std::initializer_list<const Tensor*> tensors, const Op& op,
                bool whole_vectors_only = false) {
  const MapLayout layout = map_layout(tensors, Op::kVector, whole_vectors_only);
  const auto vectors = static_cast<uint32_t>(layout.vectors);
  const auto kernel = layout.vectorized ? map_kernel<Op::kVector, Op> : map_kernel<1, Op>;
  launch(stream, kernel, blocks_for(vectors), kThreads, 0, op, vectors, layout.channels,
         layout.vectors_per_pixel);
}

/// The same for each sample of x and y by itself: a row of the grid is a sample, op finds which in
/// blockIdx.y, and its spans count from that sample's first pixel.
template <typename Op>
void launch_map_by_sample(Stream& stream, const Tensor& x, const Tensor& y, const Op& op) {
  require(x.shape == y.shape, "the tensors of an elementwise call share one shape");
  require(x.shape.n < (1 << 16), "a batch has fewer than 2^16 samples");
  Tensor first_x = x, first_y = y;
  first_x.shape.n = first_y.shape.n = 1;
  const int64_t pixels = first_x.shape.pixels();
  // Whether every sample starts as well aligned as the first.
  const bool aligned =
      pixels * x.pixel_stride % Op::kVector == 0 && pixels * y.pixel_stride % Op::kVector == 0;
  const MapLayout layout = map_layout({&first_x, &first_y}, aligned ? Op::kVector : 1, false);
  const auto vectors = static_cast<uint32_t>(layout.vectors);
  const bool vectorized = aligned && layout.vectorized;
  const auto kernel = vectorized ? map_kernel<Op::kVector, Op> : map_kernel<1, Op>;
  launch(stream, kernel, dim3(blocks_for(vectors), static_cast<unsigned>(x.shape.n)), kThreads, 0,
         op, vectors, layout.channels, layout.vectors_per_pixel);
}

}  // namespace macadam::cuda
