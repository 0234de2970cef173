// The gates of squeeze-and-excitation, a block an image. Floors: gates one pass over the packed
// weights, which the other images find in the L2 cache; backward the same and one pass over the
// gradients of the weights. With few images what counts is latency: one launch for the gates, two
// for their gradients, and no product waits for more than its own row of loads.

#include <type_traits>

#include "base/round_up.h"
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/divisor.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/squeeze_excite.h"

namespace macadam::cuda {

namespace {

constexpr int kGateThreads = 512;
constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

/// Where the parts of packed memory lie: W1 and W2 transposed, both {hidden, C}, and the biases.
template <typename T>
struct Packed {
  const T *w1, *w2;
  const float *b1, *b2;
};

constexpr size_t aligned(size_t bytes) { return round_up(bytes, 64); }

/// Byte offsets of w2, b1 and b2.
struct PackedLayout {
  size_t w2, b1, b2, end;

  explicit PackedLayout(const SqueezeExciteDesc& d) {
    const auto hidden = static_cast<size_t>(d.hidden), channels = static_cast<size_t>(d.channels);
    w2 = aligned(hidden * channels * size_of(d.dtype));
    b1 = 2 * w2;
    b2 = b1 + aligned(hidden * sizeof(float));
    end = b2 + channels * sizeof(float);
  }
};

template <typename T>
Packed<T> parts(const SqueezeExciteDesc& desc, const void* packed) {
  const PackedLayout at(desc);
  const auto* bytes = static_cast<const std::byte*>(packed);
  return {reinterpret_cast<const T*>(bytes), reinterpret_cast<const T*>(bytes + at.w2),
          reinterpret_cast<const float*>(bytes + at.b1),
          reinterpret_cast<const float*>(bytes + at.b2)};
}

/// The block's memory: a value a channel, a value a row, and the partial sums of columns_product.
struct Scratch {
  float *by_channel, *by_row, *partial;

  __device__ Scratch(int channels, int hidden)
      : by_channel(dynamic_shared<float>()),
        by_row(by_channel + round_up(channels, 4)),
        partial(by_row + round_up(hidden, 4)) {}

  static size_t bytes(const SqueezeExciteDesc& d, int per_thread) {
    const int partial = std::max(kGateThreads * per_thread, d.channels);
    const int floats = round_up(d.channels, 4) + round_up(d.hidden, 4) + partial;
    return static_cast<size_t>(floats) * sizeof(float);
  }
};

/// V floats of shared memory.
template <int V>
__device__ __forceinline__ void load_shared(const float* source, float (&v)[V]) {
  constexpr int kStep = V < 4 ? V : 4;
#pragma unroll
  for (int i = 0; i < V; i += kStep) {
    const auto part = *reinterpret_cast<const Chunk<float, kStep>*>(source + i);
#pragma unroll
    for (int k = 0; k < kStep; ++k) v[i + k] = part.lane[k];
  }
}

/// finish(r, sum over c of matrix[r][c] * vector[c]) for every row r, by one thread of a warp.
template <int V, typename T, typename Finish>
__device__ void rows_product(const T* __restrict__ matrix, int hidden, int channels,
                             const float* vector, const Finish& finish) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int r = warp; r < hidden; r += kGateThreads / kWarp) {
    float sum = 0;
#pragma unroll 4
    for (int c = lane * V; c < channels; c += kWarp * V) {
      float m[V], v[V];
      load_aligned<V>(matrix + static_cast<int64_t>(r) * channels + c, m);
      load_shared(vector + c, v);
#pragma unroll
      for (int i = 0; i < V; ++i) sum += m[i] * v[i];
    }
#pragma unroll
    for (int half = kWarp / 2; half > 0; half /= 2) sum += __shfl_xor_sync(kAllLanes, sum, half);
    if (lane == 0) finish(r, sum);
  }
}

/// finish(c, sum over r of matrix[r][c] * vector[r]) for every channel c. The threads that the
/// channels leave share the rows out. Call with all threads of the block.
template <int V, typename T, typename Finish>
__device__ void columns_product(const T* __restrict__ matrix, int hidden, int channels,
                                const float* vector, float* partial, const Finish& finish) {
  const auto thread = static_cast<int>(threadIdx.x);
  const int vectors = channels / V;
  const int groups = vectors < kGateThreads ? kGateThreads / vectors : 1;
  const int group = vectors < kGateThreads ? thread / vectors : 0;
  if (group < groups) {
    for (int item = thread - group * vectors; item < vectors; item += kGateThreads) {
      float sum[V] = {};
#pragma unroll 4
      for (int r = group; r < hidden; r += groups) {
        float m[V];
        load_aligned<V>(matrix + static_cast<int64_t>(r) * channels + item * V, m);
#pragma unroll
        for (int i = 0; i < V; ++i) sum[i] += m[i] * vector[r];
      }
#pragma unroll
      for (int i = 0; i < V; ++i) partial[group * channels + item * V + i] = sum[i];
    }
  }
  __syncthreads();
  for (int c = thread; c < channels; c += kGateThreads) {
    float sum = 0;
    for (int g = 0; g < groups; ++g) sum += partial[g * channels + c];
    finish(c, sum);
  }
}

/// The function of the gates.
__device__ __forceinline__ float gate_value(bool hard, float sum) {
  return hard ? scalar::HardSigmoid{}(sum) : scalar::Sigmoid{}(sum);
}
/// The gradient of its argument.
__device__ __forceinline__ float gate_gradient(bool hard, float gate, float dgate) {
  return hard ? scalar::HardSigmoid{}.gradient(gate, dgate)
              : scalar::Sigmoid{}.gradient(gate, dgate);
}

template <typename T, int V>
__global__ void __launch_bounds__(kGateThreads, 1)
    gates_kernel(Packed<T> packed, int channels, int hidden, Activation activation, bool hard,
                 const T* __restrict__ means, float* __restrict__ squeezed, T* __restrict__ gates) {
  const Scratch scratch(channels, hidden);
  const auto image = static_cast<int64_t>(blockIdx.x);
  for (int c = static_cast<int>(threadIdx.x); c < channels; c += kGateThreads) {
    scratch.by_channel[c] = widen(means[image * channels + c]);
  }
  __syncthreads();
  rows_product<V>(packed.w1, hidden, channels, scratch.by_channel, [&](int r, float sum) {
    float value[1] = {sum + packed.b1[r]};
    if (squeezed != nullptr) squeezed[image * hidden + r] = value[0];
    activate(activation, value);
    scratch.by_row[r] = value[0];
  });
  __syncthreads();
  columns_product<V>(packed.w2, hidden, channels, scratch.by_row, scratch.partial,
                     [&](int c, float sum) {
                       const float gate = gate_value(hard, sum + packed.b2[c]);
                       gates[image * channels + c] = narrow<T>(gate);
                     });
}

/// dmeans, and for the gradients of the parameters activation(z) and dz, {N, hidden}.
template <typename T, int V>
__global__ void __launch_bounds__(kGateThreads, 1)
    gates_backward_kernel(Packed<T> packed, int channels, int hidden, Activation activation,
                          bool hard, const float* __restrict__ squeezed,
                          const T* __restrict__ gates, const T* __restrict__ dgates,
                          T* __restrict__ dmeans, float* __restrict__ activated,
                          float* __restrict__ dz) {
  const Scratch scratch(channels, hidden);
  const auto image = static_cast<int64_t>(blockIdx.x);
  for (int c = static_cast<int>(threadIdx.x); c < channels; c += kGateThreads) {
    const int64_t i = image * channels + c;
    scratch.by_channel[c] = gate_gradient(hard, widen(gates[i]), widen(dgates[i]));
  }
  __syncthreads();
  rows_product<V>(packed.w2, hidden, channels, scratch.by_channel, [&](int r, float sum) {
    const float z[1] = {squeezed[image * hidden + r]};
    float value[1] = {z[0]}, gradient[1] = {sum};
    activate(activation, value);
    activation_gradient(activation, z, gradient);
    scratch.by_row[r] = gradient[0];
    activated[image * hidden + r] = value[0];
    dz[image * hidden + r] = gradient[0];
  });
  __syncthreads();
  columns_product<V>(packed.w1, hidden, channels, scratch.by_row, scratch.partial,
                     [&](int c, float sum) { dmeans[image * channels + c] = narrow<T>(sum); });
}

/// Where gradients of the parameters go.
struct Gradients {
  float *w1, *b1, *w2, *b2;
};

/// The gradients of the parameters, sums over the images in order: a thread a weight of each layer.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    parameter_gradients_kernel(int images, int hidden, Divisor channels, bool hard,
                               const T* __restrict__ means, const T* __restrict__ gates,
                               const T* __restrict__ dgates, const float* __restrict__ activated,
                               const float* __restrict__ dz, Gradients out) {
  const auto i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  const auto width = static_cast<int>(channels.value());
  const int r = channels(i), c = i - r * width;
  if (r >= hidden) return;
  float w1 = 0, b1 = 0, w2 = 0, b2 = 0;
#pragma unroll 4
  for (int n = 0; n < images; ++n) {
    const int64_t column = static_cast<int64_t>(n) * width + c;
    const int64_t row = static_cast<int64_t>(n) * hidden + r;
    const float d_sum = gate_gradient(hard, widen(gates[column]), widen(dgates[column]));
    w1 += dz[row] * widen(means[column]);
    w2 += d_sum * activated[row];
    b1 += dz[row];
    b2 += d_sum;
  }
  out.w1[i] = w1;
  out.w2[static_cast<int64_t>(c) * hidden + r] = w2;
  if (c == 0) out.b1[r] = b1;
  if (r == 0) out.b2[c] = b2;
}

/// Weights in T, W2 transposed, and the biases: a thread a weight of each layer.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    pack_gates_kernel(Gradients from, int hidden, Divisor channels, T* __restrict__ w1,
                      T* __restrict__ w2, float* __restrict__ b1, float* __restrict__ b2) {
  const auto i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  const int r = channels(i), c = i - r * static_cast<int>(channels.value());
  if (r >= hidden) return;
  w1[i] = narrow<T>(from.w1[i]);
  w2[i] = narrow<T>(from.w2[static_cast<int64_t>(c) * hidden + r]);
  if (c == 0) b1[r] = from.b1[r];
  if (r == 0) b2[c] = from.b2[c];
}

class CudaSqueezeExciteOps final : public SqueezeExciteOps {
 public:
  explicit CudaSqueezeExciteOps(Stream& stream) : stream_(stream) {}

  size_t packed_bytes(const SqueezeExciteDesc& d) const override { return PackedLayout(d).end; }

  void pack(const SqueezeExciteDesc& d, const SqueezeExciteParameters& parameters,
            void* packed) override {
    require_shapes(d, parameters);
    const PackedLayout at(d);
    auto* bytes = static_cast<std::byte*>(packed);
    visit_float(d.dtype, [&](auto type) {
      using T = decltype(type);
      launch(stream_, pack_gates_kernel<T>, blocks_of_weights(d), kThreads, 0, pointers(parameters),
             d.hidden, Divisor(d.channels), reinterpret_cast<T*>(bytes),
             reinterpret_cast<T*>(bytes + at.w2), reinterpret_cast<float*>(bytes + at.b1),
             reinterpret_cast<float*>(bytes + at.b2));
    });
  }

  std::vector<Cast> casts(const SqueezeExciteDesc& d, const SqueezeExciteParameters& parameters,
                          void* packed) const override {
    require_shapes(d, parameters);
    const PackedLayout at(d);
    auto* bytes = static_cast<std::byte*>(packed);
    const Device device = parameters.w1.device;
    const Shape matrix = parameters.w1.shape;
    const Shape hidden = parameters.b1.shape, channels = parameters.b2.shape;
    return {{parameters.w1, Tensor(bytes, matrix, d.dtype, device)},
            {parameters.w2, Tensor(bytes + at.w2, matrix, d.dtype, device), true},
            {parameters.b1, Tensor(bytes + at.b1, hidden, DType::f32, device)},
            {parameters.b2, Tensor(bytes + at.b2, channels, DType::f32, device)}};
  }

  void gates(const SqueezeExciteDesc& d, const Tensor& means, const void* packed,
             const Tensor& squeezed, const Tensor& gates) override {
    require_vectors(d, {&means, &gates});
    float* z = squeezed.data != nullptr ? squeezed.as<float>() : nullptr;
    visit_vectors(d, [&](auto type, auto width) {
      using T = decltype(type);
      constexpr int V = width;
      launch(stream_, gates_kernel<T, V>, static_cast<unsigned>(d.images), kGateThreads,
             Scratch::bytes(d, V), parts<T>(d, packed), d.channels, d.hidden, d.activation,
             is_hard(d), means.as<T>(), z, gates.as<T>());
    });
  }

  size_t workspace_bytes(const SqueezeExciteDesc& d) const override {
    return 2 * static_cast<size_t>(d.squeezed().elements()) * sizeof(float);
  }

  void backward(const SqueezeExciteDesc& d, const Tensor& means, const void* packed,
                const Tensor& squeezed, const Tensor& gates, const Tensor& dgates,
                const Tensor& dmeans, const SqueezeExciteParameters& gradients,
                void* workspace) override {
    require_vectors(d, {&means, &gates, &dgates, &dmeans});
    require(squeezed.shape == d.squeezed() && squeezed.dense(), "squeeze-excite: z {N,1,1,hidden}");
    require_shapes(d, gradients);
    auto* activated = static_cast<float*>(workspace);
    float* dz = activated + d.squeezed().elements();
    visit_vectors(d, [&](auto type, auto width) {
      using T = decltype(type);
      constexpr int V = width;
      launch(stream_, gates_backward_kernel<T, V>, static_cast<unsigned>(d.images), kGateThreads,
             Scratch::bytes(d, V), parts<T>(d, packed), d.channels, d.hidden, d.activation,
             is_hard(d), squeezed.as<float>(), gates.as<T>(), dgates.as<T>(), dmeans.as<T>(),
             activated, dz);
      launch(stream_, parameter_gradients_kernel<T>, blocks_of_weights(d), kThreads, 0, d.images,
             d.hidden, Divisor(d.channels), is_hard(d), means.as<T>(), gates.as<T>(),
             dgates.as<T>(), activated, dz, pointers(gradients));
    });
  }

 private:
  static bool is_hard(const SqueezeExciteDesc& d) { return d.gate == Activation::hardsigmoid; }

  static unsigned blocks_of_weights(const SqueezeExciteDesc& d) {
    const int64_t weights = int64_t{d.hidden} * d.channels;
    require(weights < (int64_t{1} << 31) - kThreads, "squeeze-excite: fewer than 2^31 weights");
    return blocks_for(weights);
  }

  static Gradients pointers(const SqueezeExciteParameters& p) {
    return {p.w1.as<float>(), p.b1.as<float>(), p.w2.as<float>(), p.b2.as<float>()};
  }

  static void require_vectors(const SqueezeExciteDesc& d,
                              std::initializer_list<const Tensor*> tensors) {
    for (const Tensor* tensor : tensors) {
      require(tensor->shape == d.vectors() && tensor->dtype == d.dtype && tensor->dense(),
              "squeeze-excite: dense means and gates {N,1,1,C}");
    }
  }

  /// Calls f(storage type, integral_constant of the channels that a thread loads at once).
  template <typename F>
  static void visit_vectors(const SqueezeExciteDesc& d, F&& f) {
    constexpr size_t kMostShared = 48 * 1024;
    visit_float(d.dtype, [&](auto type) {
      constexpr int kVector = kWidth<decltype(type)>;
      if (d.channels % kVector == 0) {
        require(Scratch::bytes(d, kVector) <= kMostShared, "squeeze-excite: too many channels");
        f(type, std::integral_constant<int, kVector>{});
      } else {
        require(Scratch::bytes(d, 1) <= kMostShared, "squeeze-excite: too many channels");
        f(type, std::integral_constant<int, 1>{});
      }
    });
  }

  Stream& stream_;
};

}  // namespace

std::unique_ptr<SqueezeExciteOps> make_squeeze_excite_ops(Stream& stream) {
  return std::make_unique<CudaSqueezeExciteOps>(stream);
}

}  // namespace macadam::cuda
