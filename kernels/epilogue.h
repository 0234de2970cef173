#pragma once
// The gradient of what follows a convolution: y = dropout(activation(z)) with z = conv(x) + bias,
// which a max pooling may read beside others.

#include <cstddef>
#include <optional>

#include "kernels/activation.h"
#include "kernels/pool.h"
#include "kernels/tensor.h"

namespace macadam {

struct EpilogueDesc {
  /// Not one with gradient_reads_input().
  Activation activation = Activation::identity;
  /// Of the gradient: Dropout::scale() where dropout follows a ReLU, because y > 0 exactly where an
  /// element was kept and positive. No mask is stored.
  float scale = 1;
  /// Of the max pooling. Its windows do not overlap: PoolDesc::windows_overlap().
  std::optional<PoolDesc> pool;
};

/// Null data where there is none. y, dy and dz have one shape, and like dpooled one floating-point
/// dtype; they may be channel slices.
struct EpilogueTensors {
  Tensor y{};        // not read for identity
  Tensor dy{};       // the gradient of y from all but the pooling; dy, dpooled or both are there
  Tensor dpooled{};  // that of the pooling's output
  Tensor index{};    // what PoolOps::max() chose; with dpooled
  Tensor dz{};       // written, and may be the same view as dy; none: dbias is wanted, of dy itself
  Tensor dbias{};    // {1, 1, 1, C} in fp32, overwritten; none: not wanted
};

/// Requires what is said above; the shape of y, dy and dz.
Shape check_epilogue(const EpilogueDesc& desc, const EpilogueTensors& tensors);

/// Whether dz is dy as it lies there, or not wanted: no more than dbias is left to be made.
bool computes_nothing(const EpilogueDesc& desc, const EpilogueTensors& tensors);

class EpilogueOps {
 public:
  virtual ~EpilogueOps() = default;

  /// Bytes of workspace of backward() for y of this shape.
  virtual size_t workspace_bytes(Shape shape) const = 0;

  /// dz = activation'(y) * (dy + the dpooled whose window chose this element) * scale, rounded
  /// once, and dbias[c] = the sum of it over all images and pixels, before it is rounded: in fp32
  /// or wider, in an order that depends on the tensors' shapes and layouts alone.
  virtual void backward(const EpilogueDesc& desc, const EpilogueTensors& tensors,
                        void* workspace) = 0;
};

}  // namespace macadam
