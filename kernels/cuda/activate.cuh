#pragma once
// Activations whose kind is known at run time, for kernels that have one behind something else: the
// branch is the same for all threads and taken once a vector.

#include "kernels/cuda/launch.cuh"
#include "kernels/scalar/activation.h"

namespace macadam::cuda {

/// Calls f(the activation of that kind), on the device.
template <typename F>
__device__ __forceinline__ void with_activation(Activation kind, F&& f) {
  switch (kind) {
    case Activation::identity: f(scalar::Identity{}); return;
    case Activation::relu: f(scalar::Relu{}); return;
    case Activation::relu6: f(scalar::Relu6{}); return;
    case Activation::sigmoid: f(scalar::Sigmoid{}); return;
    case Activation::silu: f(scalar::Silu{}); return;
    case Activation::hardswish: f(scalar::HardSwish{}); return;
    case Activation::hardsigmoid: f(scalar::HardSigmoid{}); return;
  }
}

/// v = kind(v).
template <int V>
__device__ __forceinline__ void activate(Activation kind, float (&v)[V]) {
  with_activation(kind, [&](auto activation) {
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] = activation(v[i]);
  });
}

/// d = the gradient of what the activation was given, `x`, from that of its output, d.
template <int V>
__device__ __forceinline__ void activation_gradient(Activation kind, const float (&x)[V],
                                                    float (&d)[V]) {
  with_activation(kind, [&](auto activation) {
#pragma unroll
    for (int i = 0; i < V; ++i) d[i] = activation.gradient_at(x[i], d[i]);
  });
}

}  // namespace macadam::cuda
