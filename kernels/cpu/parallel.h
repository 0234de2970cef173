#pragma once
// How the CPU ops divide their work: into chunks whose size depends on the shapes alone, so that
// results never depend on the number of threads.

#include <algorithm>
#include <cstdint>

#include "kernels/tensor.h"

namespace macadam::cpu {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Pixels of one partial sum: few enough chunks that combining them costs nothing, few enough
/// pixels that fp32 sums stay exact to a few units.
constexpr int64_t sum_chunk(int64_t pixels) {
  return std::max<int64_t>(256, ceil_div(pixels, 256));
}

/// Elements of one task of an elementwise loop: tens of kilobytes, much dearer than a fork.
constexpr int64_t kTaskElements = 1 << 14;

/// Calls body(chunk index, begin, end) for consecutive chunks of [0, count), in parallel.
template <typename Body>
void parallel_chunks(int64_t count, int64_t chunk, const Body& body) {
  const int64_t chunks = ceil_div(count, chunk);
#pragma omp parallel for schedule(static) if (chunks > 1)
  for (int64_t k = 0; k < chunks; ++k) body(k, k * chunk, std::min(count, (k + 1) * chunk));
}

/// Calls body(i) for i in [0, count), in parallel where all the items together have enough
/// elements to pay for the threads.
template <typename Body>
void parallel_items(int64_t count, int64_t elements_an_item, const Body& body) {
#pragma omp parallel for schedule(static) if (count * elements_an_item > kTaskElements)
  for (int64_t i = 0; i < count; ++i) body(i);
}

/// Calls body(first pixel, elements) for runs of neighbouring elements that cover the shape, in
/// parallel: long runs where every tensor of the call is dense, else one run a pixel.
template <typename Body>
void parallel_runs(const Shape& shape, bool dense, const Body& body) {
  const int64_t chunk = std::max<int64_t>(1, kTaskElements / shape.c);
  parallel_chunks(shape.pixels(), chunk, [&](int64_t, int64_t begin, int64_t end) {
    if (dense) {
      body(begin, (end - begin) * shape.c);
    } else {
      for (int64_t pixel = begin; pixel < end; ++pixel) body(pixel, shape.c);
    }
  });
}

/// Calls f(T{}) with T = float or bf16. fp16 has no fast arithmetic on a CPU and is refused.
template <typename F>
decltype(auto) visit_cpu(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32: return f(float{});
    case DType::bf16: return f(bf16{});
    case DType::f16: throw InputError("fp16 runs on CUDA only", "device cpu", "use fp32 or bf16");
    case DType::u8: break;
  }
  throw std::logic_error("requirement violated: a floating-point dtype");
}

/// The first element of a pixel.
template <typename T>
T* at(const Tensor& tensor, int64_t pixel) {
  return static_cast<T*>(tensor.data) + pixel * tensor.pixel_stride;
}

}  // namespace macadam::cpu
