#pragma once
// Spatial resizing between any two sizes. Backward passes gather (each input pixel sums its
// outputs in a fixed order), so that they are deterministic. Tensors may be channel slices.

#include "kernels/classes.h"
#include "kernels/tensor.h"

namespace macadam {

/// Where the class probabilities of a window are added to those of a photo, and with what weight.
struct WindowPlace {
  int top = 0, left = 0;      // of the window in the photo, not negative
  int height = 1, width = 1;  // of the window; what of it lies beyond the photo is left out
  bool mirrored = false;      // the scores are those of the window's mirror image
  bool fades = false;         // the weight is scalar::edge_weight() of row and column; else it is 1
};

class UpsampleOps {
 public:
  virtual ~UpsampleOps() = default;

  /// y[i] = x[floor(i * in / out)] in each dimension (PyTorch's mode "nearest"; exact integers).
  virtual void nearest(const Tensor& x, const Tensor& y) = 0;
  virtual void nearest_backward(const Tensor& dy, const Tensor& dx, bool accumulate) = 0;
  /// PyTorch's mode "bilinear": source = (i + 0.5) * in / out - 0.5, clamped at 0 and at the last
  /// pixel, or with `corners` (align_corners) i * (in - 1) / (out - 1). x and y may differ in
  /// dtype.
  virtual void bilinear(const Tensor& x, const Tensor& y, bool corners) = 0;
  /// classes[p] = the index of the largest of the scores that bilinear() would give pixel p,
  /// without `corners`, the lowest index among equals; NaN counts as the lowest score. The scores
  /// at that size are never stored. classes: u8 NxHxWx1, dense; x has at most kMaxClasses channels.
  /// confidence: as in ConfusionOps::argmax.
  virtual void bilinear_argmax(const Tensor& x, const Tensor& classes,
                               const Tensor& confidence) = 0;
  /// sums[top + i, left + j] += weight(i, j) * softmax of the scores that bilinear() would give
  /// pixel (i, j) of a window of the place's size, or its mirror image (i, width - 1 - j). Those
  /// scores are never stored. x: finite scores 1xhxwxC; sums: f32 1xHxWxC, dense. At most
  /// kMaxClasses classes; height and width at most 32767.
  virtual void bilinear_add_softmax(const Tensor& x, const WindowPlace& place,
                                    const Tensor& sums) = 0;
  virtual void bilinear_backward(const Tensor& dy, const Tensor& dx, bool corners,
                                 bool accumulate) = 0;
};

}  // namespace macadam
