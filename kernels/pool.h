#pragma once
// Max and average pooling. x and y share dtype and may be channel slices.

#include "kernels/conv.h"
#include "kernels/tensor.h"

namespace macadam {

struct PoolDesc {
  int kernel_h = 2, kernel_w = 2;  // kernel_h * kernel_w <= 255 for max pooling
  int stride_h = 2, stride_w = 2;
  Padding padding{};

  /// Floor of the usual formula, as PyTorch with ceil_mode = false.
  Shape output(Shape input) const;
  /// Whether a pixel may lie in several windows.
  bool windows_overlap() const { return stride_h < kernel_h || stride_w < kernel_w; }
};

class PoolOps {
 public:
  virtual ~PoolOps() = default;

  /// y = maximum over the window; padding never wins; the first of equal values in row-major order
  /// wins; NaN wins. `index` (u8, shape of y, dense) gets the position kh * kernel_w + kw; null
  /// data skips it.
  virtual void max(const PoolDesc& desc, const Tensor& x, const Tensor& y, const Tensor& index) = 0;
  /// dx = sum of the dy whose window chose this pixel, added to dx if `accumulate`. Gather form:
  /// deterministic.
  virtual void max_backward(const PoolDesc& desc, const Tensor& dy, const Tensor& index,
                            const Tensor& dx, bool accumulate) = 0;
  /// y = mean over the window's pixels inside the image (padding is not counted).
  virtual void average(const PoolDesc& desc, const Tensor& x, const Tensor& y) = 0;
  virtual void average_backward(const PoolDesc& desc, const Tensor& dy, const Tensor& dx,
                                bool accumulate) = 0;
};

}  // namespace macadam
