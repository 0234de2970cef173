#pragma once
// Activations, dropout and stochastic depth. All tensors of a call share shape and dtype, may be
// channel slices, and an output may be the same view as an input of the call.

#include <cstdint>
#include <string_view>

#include "kernels/step_state.h"
#include "kernels/tensor.h"

namespace macadam {

enum class Activation : uint8_t {
  identity,     // x
  relu,         // max(x, 0)
  relu6,        // min(max(x, 0), 6)
  sigmoid,      // 1 / (1 + exp(-x))
  silu,         // x * sigmoid(x); Elfwing et al., 2018 ("swish")
  hardswish,    // x * hardsigmoid(x); Howard et al., 2019
  hardsigmoid,  // min(max(x + 3, 0), 6) / 6, as PyTorch (Keras until version 3 has a slope of 0.2)
};

/// "identity", "relu", "relu6", "sigmoid", "silu", "hardswish", "hardsigmoid".
std::string_view name_of(Activation kind);

/// Whether the gradient of `kind` is computed from its input x (else from its output y).
constexpr bool gradient_reads_input(Activation kind) {
  return kind == Activation::silu || kind == Activation::hardswish;
}

/// Inverted dropout: an element is kept with probability 1 - p and then multiplied by scale().
/// The probability is rounded to 1/65536, and the mask is a pure function of
/// (seed, step, layer, element): see scalar/dropout.h.
struct Dropout {
  float p = 0;
  uint64_t seed = 0;
  uint32_t layer = 0;
  const StepState* state = nullptr;  // device memory

  /// Elements whose 16 random bits are below this are dropped. Requires 0 <= p < 1.
  uint32_t threshold() const { return static_cast<uint32_t>(p * 65536.0f + 0.5f); }
  float scale() const { return 65536.0f / static_cast<float>(65536u - threshold()); }
};

class ActivationOps {
 public:
  virtual ~ActivationOps() = default;

  /// y = kind(x); NaN passes through.
  virtual void activate(Activation kind, const Tensor& x, const Tensor& y) = 0;
  /// dx = dy * kind'(x), added to dx if `accumulate`. `saved` is x where
  /// gradient_reads_input(kind), else y. relu6 has no gradient at 0 and at 6, as PyTorch, and
  /// hardsigmoid none where y, as it was rounded, is 0 or 1.
  virtual void activate_backward(Activation kind, const Tensor& saved, const Tensor& dy,
                                 const Tensor& dx, bool accumulate) = 0;
  /// y = kept ? x * scale : 0.
  virtual void dropout(const Tensor& x, const Tensor& y, const Dropout& dropout) = 0;
  /// dx = kept ? dy * scale : 0, added to dx if `accumulate`; the mask is regenerated.
  virtual void dropout_backward(const Tensor& dy, const Tensor& dx, const Dropout& dropout,
                                bool accumulate) = 0;
  /// Stochastic depth: y = x * scale() for the samples that are kept, 0 for the others. Sample n
  /// takes the random bits that dropout() would give to element n. Its own gradient: pass dy and
  /// dx. Added to y if `accumulate`.
  virtual void drop_path(const Tensor& x, const Tensor& y, const Dropout& dropout,
                         bool accumulate) = 0;
};

}  // namespace macadam
