#pragma once
// Neighbouring elements as floats in registers: 16-byte accesses where memory is aligned, single
// elements elsewhere. Conversions use the hardware's where it has them (the same bits as
// kernels/scalar/half.h, up to the payload of NaN).

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "kernels/cuda/launch.cuh"
#include "kernels/scalar/half.h"
#include "kernels/tensor.h"

namespace macadam::cuda {

/// Elements that a thread takes at once: 16 bytes of the widest of the types T.
template <typename... T>
constexpr int kWidth = 16 / std::max({sizeof(T)...});

/// A tensor inside a kernel: element c of pixel p is at data[p * stride + c].
template <typename T>
struct View {
  T* data;
  int64_t stride;

  __device__ T* at(int64_t pixel, int64_t channel) const { return data + pixel * stride + channel; }
};

template <typename T>
View<T> view(const Tensor& tensor) {
  return {tensor.as<std::remove_const_t<T>>(), tensor.pixel_stride};
}

/// Whether the tensor starts on a multiple of the size of `width` elements.
inline bool starts_aligned(const Tensor& tensor, int width) {
  const size_t step = size_of(tensor.dtype) * static_cast<size_t>(width);
  return reinterpret_cast<uintptr_t>(tensor.data) % step == 0;
}

/// Whether every pixel does.
inline bool vector_aligned(const Tensor& tensor, int width) {
  return starts_aligned(tensor, width) && tensor.pixel_stride % width == 0;
}

/// Whether the channels of all tensors are whole aligned vectors of `width`.
inline bool whole_vectors(std::initializer_list<const Tensor*> tensors, int width) {
  for (const Tensor* tensor : tensors) {
    if (tensor->shape.c % width != 0 || !vector_aligned(*tensor, width)) return false;
  }
  return true;
}

/// Whether they are, together with as many of the spare ones as that takes.
inline bool whole_vectors_with_spare(std::initializer_list<const Tensor*> tensors, int width) {
  for (const Tensor* tensor : tensors) {
    const int rest = tensor->shape.c % width;
    const int missing = rest == 0 ? 0 : width - rest;
    if (missing > tensor->spare || !vector_aligned(*tensor, width)) return false;
  }
  return true;
}

__device__ __forceinline__ float widen(float v) { return v; }
__device__ __forceinline__ float widen(bf16 v) { return scalar::to_float(v); }
__device__ __forceinline__ float widen(f16 v) {
#if defined(__CUDA_ARCH__)
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(v.bits));
  return result;
#else
  return scalar::to_float(v);
#endif
}

template <typename T>
__device__ __forceinline__ T narrow(float v) {
  return scalar::from_float<T>(v);
}
#if defined(__CUDA_ARCH__)
template <>
__device__ __forceinline__ f16 narrow<f16>(float v) {
  f16 result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(v));
  return result;
}
#endif
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
template <>
__device__ __forceinline__ bf16 narrow<bf16>(float v) {
  bf16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(v));
  return result;
}
#endif

/// V elements that are moved by one instruction; up to 16 bytes.
template <typename T, int V = kWidth<T>>
struct alignas(sizeof(T) * V) Chunk {
  T lane[V];
};

template <int V, typename T>
__device__ __forceinline__ void load_aligned(const T* source, float (&v)[V]) {
  const auto chunk = *reinterpret_cast<const Chunk<T, V>*>(source);
#pragma unroll
  for (int i = 0; i < V; ++i) v[i] = widen(chunk.lane[i]);
}

template <int V, typename T>
__device__ __forceinline__ void store_aligned(T* destination, const float (&v)[V]) {
  Chunk<T, V> chunk;
#pragma unroll
  for (int i = 0; i < V; ++i) chunk.lane[i] = narrow<T>(v[i]);
  *reinterpret_cast<Chunk<T, V>*>(destination) = chunk;
}

/// The first `count` (1 to V) of V elements; the others read as 0. With V > 1 memory is aligned,
/// and a full vector is one access.
template <int V, typename T>
__device__ __forceinline__ void load(const T* source, int count, float (&v)[V]) {
  if constexpr (V > 1) {
    if (count == V) {
      load_aligned<V>(source, v);
      return;
    }
  }
#pragma unroll
  for (int i = 0; i < V; ++i) v[i] = i < count ? widen(source[i]) : 0.0f;
}

template <int V, typename T>
__device__ __forceinline__ void store(T* destination, int count, const float (&v)[V]) {
  if constexpr (V > 1) {
    if (count == V) {
      store_aligned<V>(destination, v);
      return;
    }
  }
#pragma unroll
  for (int i = 0; i < V; ++i) {
    if (i < count) destination[i] = narrow<T>(v[i]);
  }
}

/// store, or adding to what is there.
template <int V, typename T>
__device__ __forceinline__ void store_or_add(T* destination, int count, float (&v)[V],
                                             bool accumulate) {
  if (accumulate) {
    float before[V];
    load<V>(destination, count, before);
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] += before[i];
  }
  store<V>(destination, count, v);
}

}  // namespace macadam::cuda
