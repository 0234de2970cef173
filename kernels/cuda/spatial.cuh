#pragma once
// Kernels whose threads each own one vector of channels of one pixel of a map, and read other
// pixels around it.

#include "kernels/cuda/divisor.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector.cuh"

namespace macadam::cuda {

/// Up to V channels of a pixel: one aligned access, or single elements.
template <bool Aligned, int V, typename T>
__device__ __forceinline__ void load_channels(const T* source, int count, float (&v)[V]) {
  if constexpr (Aligned) {
    load_aligned<V>(source, v);
  } else {
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] = i < count ? widen(source[i]) : 0.0f;
  }
}

template <bool Aligned, int V, typename T>
__device__ __forceinline__ void store_channels(T* destination, int count, float (&v)[V],
                                               bool accumulate = false) {
  if (accumulate) {
    float before[V];
    load_channels<Aligned>(destination, count, before);
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] += before[i];
  }
  if constexpr (Aligned) {
    store_aligned<V>(destination, v);
  } else {
#pragma unroll
    for (int i = 0; i < V; ++i) {
      if (i < count) destination[i] = narrow<T>(v[i]);
    }
  }
}

/// A thread's place.
struct Place {
  int n, h, w;
  int channel, count;
  int64_t pixel;  // n * height * width + h * width + w
};

/// The threads of a map of `shape`, one for `width` channels of a pixel, the channels fastest.
class SpatialLayout {
 public:
  SpatialLayout(const Shape& shape, int width)
      : vectors_((shape.c + width - 1) / width),
        width_of_vector_(width),
        width_(shape.w),
        height_(shape.h),
        channels_(shape.c) {
    const int64_t threads = shape.pixels() * vectors_.value();
    require(threads < (int64_t{1} << 31), "a map has fewer than 2^31 vectors");
    threads_ = static_cast<uint32_t>(threads);
  }

  uint32_t threads() const { return threads_; }
  __device__ int channels() const { return channels_; }

  /// False where the thread lies past the end.
  __device__ bool place(Place& place) const {
    const uint32_t i = blockIdx.x * kThreads + threadIdx.x;
    if (i >= threads_) return false;
    const uint32_t pixel = vectors_.quotient(i);
    const uint32_t row = width_.quotient(pixel);
    const uint32_t image = height_.quotient(row);
    place.channel = static_cast<int>(i - pixel * vectors_.value()) * width_of_vector_;
    const int left = channels_ - place.channel;
    place.count = left < width_of_vector_ ? left : width_of_vector_;
    place.w = static_cast<int>(pixel - row * width_.value());
    place.h = static_cast<int>(row - image * height_.value());
    place.n = static_cast<int>(image);
    place.pixel = pixel;
    return true;
  }

 private:
  Divisor vectors_;
  int width_of_vector_;
  Divisor width_, height_;
  uint32_t threads_ = 0;
  int channels_;
};

}  // namespace macadam::cuda
