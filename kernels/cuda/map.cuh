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
  bool vectorised = false;
};

/// The layout of a call on tensors of one shape. `whole_vectors`: a vector never straddles two
/// groups of eight in dense element order (dropout needs it).
inline MapLayout map_layout(std::initializer_list<const Tensor*> tensors,
                            bool whole_vectors = false) {
  const Shape shape = (*tensors.begin())->shape;
  bool dense = true, aligned = true;
  for (const Tensor* tensor : tensors) {
    require(tensor->shape == shape, "the tensors of an elementwise call share one shape");
    dense = dense && tensor->dense();
    aligned = aligned && (reinterpret_cast<uintptr_t>(tensor->data) % 16 == 0);
  }
  MapLayout layout;
  const int64_t pixels = dense ? 1 : shape.pixels();
  layout.channels = dense ? shape.elements() : shape.c;
  layout.vectorised = aligned && (dense || !whole_vectors || shape.c % kVector == 0);
  if (!dense) {
    for (const Tensor* tensor : tensors) {
      layout.vectorised = layout.vectorised && vector_aligned(*tensor);
    }
  }
  const int64_t per_vector = layout.vectorised ? kVector : 1;
  const int64_t per_pixel = (layout.channels + per_vector - 1) / per_vector;
  layout.vectors = pixels * per_pixel;
  require(layout.vectors < (int64_t{1} << 31), "an elementwise call has fewer than 2^31 vectors");
  if (per_pixel > 0) layout.vectors_per_pixel = Divisor(per_pixel);
  return layout;
}

/// Calls op.apply<V>(pixel, first channel, how many channels) for every vector.
template <int V, typename Op>
__global__ void __launch_bounds__(kThreads)
    map_kernel(Op op, uint32_t vectors, int64_t channels, Divisor vectors_per_pixel) {
  const uint32_t i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= vectors) return;
  const uint32_t pixel = vectors_per_pixel.quotient(i);
  const int64_t first = static_cast<int64_t>(i - pixel * vectors_per_pixel.value()) * V;
  const int64_t left = channels - first;
  op.template apply<V>(pixel, first, left < V ? static_cast<int>(left) : V);
}

template <typename Op>
void launch_map(Stream& stream, const MapLayout& layout, const Op& op) {
  const auto vectors = static_cast<uint32_t>(layout.vectors);
  const auto kernel = layout.vectorised ? map_kernel<kVector, Op> : map_kernel<1, Op>;
  launch(stream, kernel, blocks_for(vectors), kThreads, 0, op, vectors, layout.channels,
         layout.vectors_per_pixel);
}

}  // namespace macadam::cuda
