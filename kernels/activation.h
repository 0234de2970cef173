#pragma once
// ReLU and dropout. All tensors of a call share shape and dtype, may be channel slices, and an
// output may be the same view as an input of the call.

#include <cstdint>

#include "kernels/step_state.h"
#include "kernels/tensor.h"

namespace macadam {

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

  /// y = max(x, 0); NaN passes through.
  virtual void relu(const Tensor& x, const Tensor& y) = 0;
  /// dx = y > 0 ? dy * scale : 0, added to dx if `accumulate`. With scale = Dropout::scale() it is
  /// the gradient of dropout(relu(x)) too, because y > 0 exactly where the element was kept and
  /// positive: no mask is stored.
  virtual void relu_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, float scale,
                             bool accumulate) = 0;
  /// y = kept ? x * scale : 0.
  virtual void dropout(const Tensor& x, const Tensor& y, const Dropout& dropout) = 0;
  /// dx = kept ? dy * scale : 0, added to dx if `accumulate`; the mask is regenerated.
  virtual void dropout_backward(const Tensor& dy, const Tensor& dx, const Dropout& dropout,
                                bool accumulate) = 0;
};

}  // namespace macadam
