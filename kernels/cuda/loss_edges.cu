// The edges between labels: the range of labels in a window, along rows, then along columns. Floor:
// 4 bytes a pixel and term; the windows lie in the cache.

#include "kernels/cuda/loss_edges.h"
#include "kernels/cuda/vector.cuh"

namespace macadam::cuda {

namespace {

constexpr int kEdgeThreads = 256;

struct LabelRange {
  uint8_t* least;
  uint8_t* greatest;
};

/// A thread takes a pixel, and the range in its row.
__global__ void __launch_bounds__(kEdgeThreads)
    row_range_kernel(View<const uint8_t> labels, int64_t pixels, int width, int classes, int ignore,
                     int reach, LabelRange range) {
  const int64_t pixel = static_cast<int64_t>(blockIdx.x) * kEdgeThreads + threadIdx.x;
  if (pixel >= pixels) return;
  const auto x = static_cast<int>(pixel % width);
  const int first = x < reach ? -x : -reach;
  const int last = width - 1 - x < reach ? width - 1 - x : reach;
  int least = 255, greatest = 0;
  for (int d = first; d <= last; ++d) {
    const int label = *labels.at(pixel + d, 0);
    if (label == ignore || label >= classes) continue;
    least = label < least ? label : least;
    greatest = label > greatest ? label : greatest;
  }
  range.least[pixel] = static_cast<uint8_t>(least);
  range.greatest[pixel] = static_cast<uint8_t>(greatest);
}

/// A thread takes a pixel, and the ranges in its column.
__global__ void __launch_bounds__(kEdgeThreads)
    edge_kernel(LabelRange range, int64_t pixels, int height, int width, int reach, uint8_t bits,
                uint8_t kept, uint8_t* plane) {
  const int64_t pixel = static_cast<int64_t>(blockIdx.x) * kEdgeThreads + threadIdx.x;
  if (pixel >= pixels) return;
  const auto y = static_cast<int>(pixel / width % height);
  const int first = y < reach ? -y : -reach;
  const int last = height - 1 - y < reach ? height - 1 - y : reach;
  int least = 255, greatest = 0;
  for (int d = first; d <= last; ++d) {
    const int64_t other = pixel + static_cast<int64_t>(d) * width;
    const int low = range.least[other], high = range.greatest[other];
    least = low < least ? low : least;
    greatest = high > greatest ? high : greatest;
  }
  plane[pixel] = static_cast<uint8_t>((plane[pixel] & kept) | (greatest > least ? bits : 0));
}

}  // namespace

void find_edges(Stream& stream, const LossDesc& desc, const LossSums& at, int classes,
                const Tensor& labels, uint8_t* plane) {
  const Shape shape = labels.shape;
  const int64_t pixels = shape.pixels();
  const unsigned blocks = blocks_for(pixels, kEdgeThreads);
  const LabelRange range{plane + pixels, plane + 2 * pixels};
  unsigned kept = 0;  // bits that stay
  for (int k = 0; k < at.pixel_terms(); ++k) {
    if (!at.is_edge_term(k)) continue;
    const int reach = edge_width(desc.terms[k]);
    launch(stream, row_range_kernel, blocks, kEdgeThreads, 0, view<const uint8_t>(labels), pixels,
           shape.w, classes, desc.ignore, reach, range);
    launch(stream, edge_kernel, blocks, kEdgeThreads, 0, range, pixels, shape.h, shape.w, reach,
           static_cast<uint8_t>(1u << k), static_cast<uint8_t>(kept), plane);
    kept |= 1u << k;
  }
}

}  // namespace macadam::cuda
