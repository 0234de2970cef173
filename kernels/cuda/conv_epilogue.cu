// Floor of add_bias, in passes over a tensor of y's size: 2.

#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/conv_epilogue.h"

namespace macadam::cuda {

namespace {

template <typename T>
struct AddBias {
  using Element = T;
  static constexpr int kTogether = 4;
  static constexpr int kBlocksPerProcessor = kShareBlocksPerProcessor;

  View<T> y;
  const T* bias;
  Activation activation;

  template <int V>
  struct Held {
    Chunk<T, V> y;
  };

  template <int V>
  struct Work {
    View<T> y;
    int channel;
    Activation activation;
    float bias[V];

    __device__ void fetch(int64_t pixel, Held<V>& held) const {
      held.y = chunk_at<V>(y.at(pixel, channel));
    }
    __device__ void take(int64_t pixel, const Held<V>& held) const {
      float v[V];
#pragma unroll
      for (int i = 0; i < V; ++i) v[i] = widen(held.y.lane[i]) + bias[i];
      activate(activation, v);
      store<V>(y.at(pixel, channel), V, v);
    }
  };

  template <int V>
  __device__ Work<V> start(int channel) const {
    Work<V> work{y, channel, activation, {}};
    load<V>(bias + channel, V, work.bias);
    return work;
  }
};

/// The finaliser of MurmurHash3: every bit of the key changes every bit of the result.
__device__ __forceinline__ uint32_t mixed(uint32_t key) {
  key = (key ^ (key >> 16)) * 0x85ebca6bu;
  key = (key ^ (key >> 13)) * 0xc2b2ae35u;
  return key ^ (key >> 16);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    fill_random_kernel(T* destination, int64_t count, uint32_t seed) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const uint32_t bits = mixed(static_cast<uint32_t>(i) ^ mixed(seed));
  destination[i] = narrow<T>(static_cast<float>(bits >> 8) * 0x1p-23f - 1.0f);
}

}  // namespace

void add_bias(Stream& stream, const Tensor& y, const void* bias, Activation activation) {
  visit_float(y.dtype, [&](auto type) {
    using T = decltype(type);
    launch_column_map(stream, column_layout({&y}),
                      AddBias<T>{view<T>(y), static_cast<const T*>(bias), activation});
  });
}

void fill_random(Stream& stream, void* destination, DType dtype, int64_t count, uint32_t seed) {
  visit_float(dtype, [&](auto type) {
    using T = decltype(type);
    launch(stream, fill_random_kernel<T>, blocks_for(count), kThreads, 0,
           static_cast<T*>(destination), count, seed);
  });
}

}  // namespace macadam::cuda
