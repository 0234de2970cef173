#pragma once
// Spatial resizing between any two sizes. Backward passes gather (each input pixel sums its
// outputs in a fixed order), so that they are deterministic. Tensors may be channel slices.

#include "kernels/tensor.h"

namespace macadam {

class UpsampleOps {
 public:
  virtual ~UpsampleOps() = default;

  /// y[i] = x[floor(i * in / out)] in each dimension (PyTorch's mode "nearest"; exact integers).
  virtual void nearest(const Tensor& x, const Tensor& y) = 0;
  virtual void nearest_backward(const Tensor& dy, const Tensor& dx, bool accumulate) = 0;
  /// PyTorch's mode "bilinear", align_corners = false: source = (i + 0.5) * in / out - 0.5, clamped
  /// at 0 and at the last pixel. x and y may differ in dtype.
  virtual void bilinear(const Tensor& x, const Tensor& y) = 0;
  /// classes[p] = the index of the largest of the scores that bilinear() would give pixel p, the
  /// lowest index among equals; NaN counts as the lowest score. The scores at that size are never
  /// stored. classes: u8 NxHxWx1, dense; x has at most 255 channels.
  virtual void bilinear_argmax(const Tensor& x, const Tensor& classes) = 0;
  virtual void bilinear_backward(const Tensor& dy, const Tensor& dx, bool accumulate) = 0;
};

}  // namespace macadam
