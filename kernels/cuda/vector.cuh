#pragma once
// Eight neighbouring elements as floats in registers: 16-byte accesses where memory is aligned,
// single elements elsewhere. Conversions use the hardware's where it has them (the same bits as
// kernels/scalar/half.h, up to the payload of NaN).

#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "kernels/cuda/launch.cuh"
#include "kernels/scalar/half.h"
#include "kernels/tensor.h"

namespace macadam::cuda {

/// Elements of a vector access. One Philox block of dropout serves as many.
constexpr int kVector = 8;

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

/// Whether every vector of every pixel starts on 16 bytes (8 for u8).
inline bool vector_aligned(const Tensor& tensor) {
  const size_t step = tensor.dtype == DType::u8 ? 8 : 16;
  return reinterpret_cast<uintptr_t>(tensor.data) % step == 0 &&
         static_cast<size_t>(tensor.pixel_stride) * size_of(tensor.dtype) % step == 0;
}

/// Whether the channels of all tensors are whole aligned vectors of `width`.
inline bool whole_vectors(std::initializer_list<const Tensor*> tensors, int width = kVector) {
  for (const Tensor* tensor : tensors) {
    if (tensor->shape.c % width != 0 || !vector_aligned(*tensor)) return false;
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

/// 16 bytes of T, moved by one instruction.
template <typename T>
struct alignas(16) Chunk {
  static constexpr int kSize = 16 / sizeof(T);
  T lane[kSize];
};

/// V elements that begin on 16 bytes, V a multiple of a chunk.
template <int V, typename T>
__device__ __forceinline__ void load_aligned(const T* source, float (&v)[V]) {
  constexpr int kSize = Chunk<T>::kSize;
  static_assert(V % kSize == 0);
#pragma unroll
  for (int part = 0; part < V / kSize; ++part) {
    const Chunk<T> chunk = reinterpret_cast<const Chunk<T>*>(source)[part];
#pragma unroll
    for (int i = 0; i < kSize; ++i) v[part * kSize + i] = widen(chunk.lane[i]);
  }
}

template <int V, typename T>
__device__ __forceinline__ void store_aligned(T* destination, const float (&v)[V]) {
  constexpr int kSize = Chunk<T>::kSize;
  static_assert(V % kSize == 0);
#pragma unroll
  for (int part = 0; part < V / kSize; ++part) {
    Chunk<T> chunk;
#pragma unroll
    for (int i = 0; i < kSize; ++i) chunk.lane[i] = narrow<T>(v[part * kSize + i]);
    reinterpret_cast<Chunk<T>*>(destination)[part] = chunk;
  }
}

/// The first `count` (1 to V) of V elements; the others read as 0. With V > 1 memory is
/// aligned, and a full vector moves in 16-byte accesses.
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
