#pragma once
// Copy (which is concat, slice and cast), add and fill. Tensors of a call share one shape and may
// be channel slices; dtypes may differ, except that u8 only copies to u8.

#include "kernels/tensor.h"

namespace macadam {

class ElementwiseOps {
 public:
  virtual ~ElementwiseOps() = default;

  /// y = x, rounded to y's dtype. Concatenation and slicing along channels are copies between
  /// Tensor::channels views. Added to y if `accumulate` (floating point only).
  virtual void copy(const Tensor& x, const Tensor& y, bool accumulate) = 0;
  /// y = a + b; with `relu`, max(a + b, 0). y may be the same view as a or b.
  virtual void add(const Tensor& a, const Tensor& b, const Tensor& y, bool relu) = 0;
  /// y = value.
  virtual void fill(const Tensor& y, float value) = 0;
};

}  // namespace macadam
