#pragma once
// What an image's channels need as a whole: means and sums over the pixels, a factor or a bias for
// each. Sums are fp32 or wider and in a fixed order, so that they are deterministic.

#include <cstddef>

#include "kernels/tensor.h"

namespace macadam {

/// x, y and their gradients share dtype and may be channel slices. Factors, means and their
/// gradients are {N, 1, 1, C} of the same dtype, dense where they are written; biases are
/// {1, 1, 1, C} in fp32.
class ChannelOps {
 public:
  virtual ~ChannelOps() = default;

  /// Bytes of workspace of mean() and scale_backward() for x of this shape.
  virtual size_t workspace_bytes(Shape shape) const = 0;

  /// y[n, c] = mean over the pixels of x[n, :, :, c].
  virtual void mean(const Tensor& x, const Tensor& y, void* workspace) = 0;
  /// dx[n, h, w, c] = dy[n, c] / (H * W), added to dx if `accumulate`.
  virtual void mean_backward(const Tensor& dy, const Tensor& dx, bool accumulate) = 0;

  /// y = x * factors, broadcast over the pixels. y may be the same view as x.
  virtual void scale(const Tensor& x, const Tensor& factors, const Tensor& y) = 0;
  /// dfactors[n, c] = sum over the pixels of dy * x, overwritten (null data: not wanted), and
  /// dx = dy * factors, added to dx if `accumulate` (null data: not wanted). dx may be the same
  /// view as dy.
  virtual void scale_backward(const Tensor& x, const Tensor& factors, const Tensor& dy,
                              const Tensor& dx, bool accumulate, const Tensor& dfactors,
                              void* workspace) = 0;

  /// y = x + bias. y may be the same view as x.
  virtual void add_bias(const Tensor& x, const Tensor& bias, const Tensor& y) = 0;
};

}  // namespace macadam
