#pragma once
// What the kernels that write network input from bytes share.

#include "kernels/augment.h"
#include "kernels/cuda/vector.cuh"
#include "kernels/scalar/normalize.h"

namespace macadam::cuda {

/// Pixels of one row that a thread turns out.
constexpr int kRun = 4;

/// How the three channels of x come from those of an image.
struct ChannelMaps {
  scalar::Affine channel[3];
  bool bgr;  // they are in the order B, G, R
};

inline ChannelMaps channel_maps(const Normalization& normalization) {
  ChannelMaps maps{.channel = {}, .bgr = normalization.bgr};
  for (size_t c = 0; c < 3; ++c) {
    maps.channel[c] = scalar::byte_normalization(normalization.mean[c], normalization.std[c],
                                                 normalization.range);
  }
  return maps;
}

/// Twelve bytes: four RGB pixels.
struct alignas(4) RgbRun {
  uint8_t byte[3 * kRun];
};

struct alignas(4) LabelRun {
  uint8_t byte[kRun];
};

/// Four elements of x, moved at once.
template <typename T>
struct alignas(4 * sizeof(T)) Four {
  T lane[4];
};

/// Whether runs of kRun pixels of a dense tensor lie on multiples of `bytes`.
inline bool runs_aligned(const Tensor& tensor, size_t bytes) {
  return tensor.dense() && tensor.shape.w % kRun == 0 &&
         reinterpret_cast<uintptr_t>(tensor.data) % bytes == 0;
}

/// How x can be written.
enum class Stores : uint8_t {
  elements,  // one by one
  runs,      // kRun whole pixels at once, of every row
  pixels,    // a pixel at once, with spare channels up to 16 bytes
};

template <typename T>
Stores stores_of(const Tensor& x) {
  if (runs_aligned(x, sizeof(Four<T>))) return Stores::runs;
  return whole_vectors_with_spare({&x}, kWidth<T>) ? Stores::pixels : Stores::elements;
}

/// Writes the 3 * kRun elements of a run.
template <typename T>
__device__ __forceinline__ void store_run(T* x, const float (&elements)[3 * kRun]) {
#pragma unroll
  for (int part = 0; part < 3; ++part) {
    Four<T> four;
#pragma unroll
    for (int i = 0; i < 4; ++i) four.lane[i] = narrow<T>(elements[4 * part + i]);
    reinterpret_cast<Four<T>*>(x)[part] = four;
  }
}

/// Writes the pixel at x, and zeros behind it.
template <typename T>
__device__ __forceinline__ void store_pixel(T* x, float c0, float c1, float c2) {
  float lanes[kWidth<T>] = {c0, c1, c2};
  store_aligned<kWidth<T>>(x, lanes);
}

/// Writes the first `count` pixels of a run.
template <typename T>
__device__ __forceinline__ void store_pixels(const View<T>& x, int64_t first, int count,
                                             Stores stores, const float (&elements)[3 * kRun]) {
  if (stores == Stores::runs) {
    store_run(x.at(first, 0), elements);
    return;
  }
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    if (i >= count) break;
    T* pixel = x.at(first + i, 0);
    if (stores == Stores::pixels) {
      store_pixel(pixel, elements[3 * i], elements[3 * i + 1], elements[3 * i + 2]);
    } else {
#pragma unroll
      for (int c = 0; c < 3; ++c) pixel[c] = narrow<T>(elements[3 * i + c]);
    }
  }
}

}  // namespace macadam::cuda
