#pragma once
// Max and average pooling. x and y share dtype and may be channel slices.

#include "kernels/conv.h"
#include "kernels/tensor.h"

namespace macadam {

struct PoolDesc {
  int kernel_h = 2, kernel_w = 2;  // kernel_h * kernel_w <= 255 for max pooling
  int stride_h = 2, stride_w = 2;
  Padding padding{};  // on each side less than the kernel: every window meets the image
  /// A last window that the padded image does not fill is kept, unless it would begin in the
  /// padding behind the image; else it is dropped. PyTorch's ceil_mode.
  bool ceil_mode = false;
  /// An average counts the padding's pixels as zeros, but never what lies beyond the padding.
  /// PyTorch's count_include_pad; false is TensorFlow's rule.
  bool count_padding = false;
  /// Of an average that takes the image in `grid_h` rows and `grid_w` columns of windows, as
  /// PyTorch's adaptive pooling does: window i of n along an axis of e pixels goes from floor(i * e
  /// / n) to ceil((i + 1) * e / n). Nothing else counts then. 0: windows of one size, as above.
  int grid_h = 0, grid_w = 0;

  bool is_grid() const { return grid_h > 0; }
  /// As PyTorch. An extent is 0 or less where the padded image has no window.
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
  /// y = the sum over the window's pixels inside the image, divided by their number, or with
  /// count_padding by the number of those inside the padded image. The only one that takes a grid.
  virtual void average(const PoolDesc& desc, const Tensor& x, const Tensor& y) = 0;
  virtual void average_backward(const PoolDesc& desc, const Tensor& dy, const Tensor& dx,
                                bool accumulate) = 0;
};

}  // namespace macadam
