#pragma once
// The gates of squeeze-and-excitation (Hu et al., 2018): from the mean of each channel of an image,
// through a layer of `hidden` values, a factor for each channel:
//   z = W1 m + b1,  gates = gate(W2 activation(z) + b2).

#include <cstddef>
#include <vector>

#include "kernels/activation.h"
#include "kernels/elementwise.h"
#include "kernels/tensor.h"

namespace macadam {

struct SqueezeExciteDesc {
  int images = 1, channels = 1, hidden = 1;
  Activation activation = Activation::silu;
  Activation gate = Activation::sigmoid;  // or hardsigmoid (Howard et al., 2019)
  DType dtype = DType::f32;  // of means, gates and their gradients; arithmetic is in fp32

  /// {N, 1, 1, C}: means and gates.
  Shape vectors() const { return {images, 1, 1, channels}; }
  /// {N, 1, 1, hidden}: z.
  Shape squeezed() const { return {images, 1, 1, hidden}; }
};

/// The parameters of the two 1 x 1 convolutions, or their gradients; fp32, dense.
struct SqueezeExciteParameters {
  Tensor w1;  // {hidden, 1, 1, C}
  Tensor b1;  // {1, 1, 1, hidden}
  Tensor w2;  // {C, 1, 1, hidden}
  Tensor b2;  // {1, 1, 1, C}
};

/// Throws std::logic_error unless the shapes are those of the description and its gate is one of
/// the two.
void require_shapes(const SqueezeExciteDesc& desc, const SqueezeExciteParameters& parameters);

/// Tensors are dense; `packed` has packed_bytes() and `workspace` workspace_bytes(), both 64-byte
/// aligned device memory of the caller.
class SqueezeExciteOps {
 public:
  virtual ~SqueezeExciteOps() = default;

  /// Rewrites the parameters, the weights rounded to the description's dtype, into the layout that
  /// the other functions read. Call after every change of the parameters.
  virtual void pack(const SqueezeExciteDesc& desc, const SqueezeExciteParameters& parameters,
                    void* packed) = 0;
  virtual size_t packed_bytes(const SqueezeExciteDesc& desc) const = 0;
  /// The casts that pack() consists of, where it does nothing else; else none.
  virtual std::vector<Cast> casts(const SqueezeExciteDesc& desc,
                                  const SqueezeExciteParameters& parameters, void* packed) const {
    static_cast<void>(desc);
    static_cast<void>(parameters);
    static_cast<void>(packed);
    return {};
  }

  /// Gates from means, both {N, 1, 1, C}. `squeezed` {N, 1, 1, hidden} in fp32 receives z, which
  /// backward() reads (null data: not wanted).
  virtual void gates(const SqueezeExciteDesc& desc, const Tensor& means, const void* packed,
                     const Tensor& squeezed, const Tensor& gates) = 0;

  /// Given dgates: dmeans and the gradients of all parameters, overwritten. Sums are taken in an
  /// order that depends on the description alone.
  virtual void backward(const SqueezeExciteDesc& desc, const Tensor& means, const void* packed,
                        const Tensor& squeezed, const Tensor& gates, const Tensor& dgates,
                        const Tensor& dmeans, const SqueezeExciteParameters& gradients,
                        void* workspace) = 0;
  /// Of backward().
  virtual size_t workspace_bytes(const SqueezeExciteDesc& desc) const = 0;
};

}  // namespace macadam
