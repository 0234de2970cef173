#pragma once
// The activations and their gradients, one element at a time.

#include <cmath>
#include <stdexcept>

#include "kernels/activation.h"
#include "kernels/scalar/exp_log.h"
#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

/// max(x, 0); NaN passes through.
MACADAM_HD float relu(float x) { return x <= 0.0f ? 0.0f : x; }

/// sigmoid(x) and 1 - sigmoid(x). Neither is a difference, and nothing overflows: both are within
/// a few ulp wherever they are normal numbers.
struct SigmoidPair {
  float value, complement;
};

MACADAM_HD SigmoidPair sigmoid_pair(float x) {
  const bool negative = x < 0.0f;
#if defined(__CUDA_ARCH__)
  const float t = std::exp(negative ? x : -x);
  const float larger = __fdividef(1.0f, 1.0f + t);  // within 2 ulp: the divisor is 1 to 2
#else
  const float t = exp_inline(negative ? x : -x);
  const float larger = 1.0f / (1.0f + t);
#endif
  const float smaller = t * larger;
  return negative ? SigmoidPair{smaller, larger} : SigmoidPair{larger, smaller};
}

// For each activation, operator() is its value, gradient() that of x from `saved` (x where
// gradient_reads_input(), else y) and dy, and gradient_at() the same from x.

struct Identity {
  MACADAM_HD float operator()(float x) const { return x; }
  MACADAM_HD float gradient(float, float dy) const { return dy; }
  MACADAM_HD float gradient_at(float, float dy) const { return dy; }
};

struct Relu {
  MACADAM_HD float operator()(float x) const { return relu(x); }
  MACADAM_HD float gradient(float y, float dy) const { return y > 0.0f ? dy : 0.0f; }
  MACADAM_HD float gradient_at(float x, float dy) const { return gradient(x, dy); }
};

struct Relu6 {
  MACADAM_HD float operator()(float x) const { return x >= 6.0f ? 6.0f : relu(x); }
  MACADAM_HD float gradient(float y, float dy) const { return y > 0.0f && y < 6.0f ? dy : 0.0f; }
  MACADAM_HD float gradient_at(float x, float dy) const { return gradient(x, dy); }
};

struct Sigmoid {
  MACADAM_HD float operator()(float x) const { return sigmoid_pair(x).value; }
  MACADAM_HD float gradient(float y, float dy) const { return dy * (y * (1.0f - y)); }
  MACADAM_HD float gradient_at(float x, float dy) const {
    const SigmoidPair s = sigmoid_pair(x);
    return dy * (s.value * s.complement);
  }
};

struct Silu {
  MACADAM_HD float operator()(float x) const { return x * sigmoid_pair(x).value; }
  MACADAM_HD float gradient(float x, float dy) const {
    const SigmoidPair s = sigmoid_pair(x);
    return dy * (s.value * (1.0f + x * s.complement));
  }
  MACADAM_HD float gradient_at(float x, float dy) const { return gradient(x, dy); }
};

struct HardSwish {
  MACADAM_HD float operator()(float x) const {
    return x >= 3.0f ? x : x <= -3.0f ? 0.0f : x * ((x + 3.0f) * (1.0f / 6.0f));
  }
  MACADAM_HD float gradient(float x, float dy) const {
    return x >= 3.0f ? dy : x <= -3.0f ? 0.0f : dy * (x * (1.0f / 3.0f) + 0.5f);
  }
  MACADAM_HD float gradient_at(float x, float dy) const { return gradient(x, dy); }
};

struct HardSigmoid {
  MACADAM_HD float operator()(float x) const {
    return x >= 3.0f ? 1.0f : x <= -3.0f ? 0.0f : (x + 3.0f) * (1.0f / 6.0f);
  }
  MACADAM_HD float gradient(float y, float dy) const {
    return y > 0.0f && y < 1.0f ? dy * (1.0f / 6.0f) : 0.0f;
  }
  MACADAM_HD float gradient_at(float x, float dy) const {
    return x > -3.0f && x < 3.0f ? dy * (1.0f / 6.0f) : 0.0f;
  }
};

/// Calls f(the activation of that kind).
template <typename F>
decltype(auto) visit_activation(Activation kind, F&& f) {
  switch (kind) {
    case Activation::identity: return f(Identity{});
    case Activation::relu: return f(Relu{});
    case Activation::relu6: return f(Relu6{});
    case Activation::sigmoid: return f(Sigmoid{});
    case Activation::silu: return f(Silu{});
    case Activation::hardswish: return f(HardSwish{});
    case Activation::hardsigmoid: return f(HardSigmoid{});
  }
  throw std::logic_error("requirement violated: an activation");
}

}  // namespace macadam::scalar
