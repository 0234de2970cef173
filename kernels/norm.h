#pragma once
// Batch normalisation over N, H, W for each channel, with an activation behind it, and in training
// a residual addition between the two; and convolutions that equal others with a batch norm, or a
// convolution, behind them.
// Source: Ioffe and Szegedy, 2015; running statistics as PyTorch keeps them.

#include <cstddef>

#include "kernels/activation.h"
#include "kernels/tensor.h"

namespace macadam {

struct BatchNormDesc {
  float eps = 1e-5f;
  float momentum = 0.1f;  // PyTorch's sense: running = (1 - momentum) * running + momentum * batch
  Activation activation = Activation::identity;  // y = activation(normalised)
  /// train() normalises by the running statistics and leaves them alone, and backward() takes them
  /// for constants: fine-tuning with the statistics of the pretrained weights.
  bool frozen = false;
  /// train() and backward() have a residual addition: y = activation(drop_path(normalised) + skip).
  /// The activation is the identity or ReLU then. infer() has none.
  bool adds = false;
  Dropout drop_path{};  // of the samples, as ActivationOps::drop_path; p = 0: none. Where it adds

  /// Whether backward() reads y, and not x alone.
  bool backward_reads_output() const { return adds && activation != Activation::identity; }
};

/// What backward() needs where desc.adds.
struct SkipGradient {
  Tensor y;                 // as train() wrote it; unread unless desc.backward_reads_output()
  Tensor dskip;             // null data: not wanted. May be the same view as dy, if dx is not
  bool accumulate = false;  // dskip is added to
};

/// Vectors {1,1,1,C} are fp32; x, skip, y and their gradients share shape and dtype and may be
/// channel slices.
class NormOps {
 public:
  virtual ~NormOps() = default;

  virtual size_t workspace_bytes(Shape shape) const = 0;
  /// Normalises by the batch's biased variance; updates running_mean and running_var (unbiased
  /// variance; a batch of one value keeps it biased); saves mean and 1/sqrt(var + eps) for
  /// backward. With desc.frozen the running statistics take the batch's place. `skip` is read if
  /// desc.adds.
  virtual void train(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma,
                     const Tensor& beta, const Tensor& running_mean, const Tensor& running_var,
                     const Tensor& saved_mean, const Tensor& saved_inv_std, const Tensor& skip,
                     const Tensor& y, void* workspace) = 0;
  /// Normalises by the running statistics.
  virtual void infer(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma,
                     const Tensor& beta, const Tensor& running_mean, const Tensor& running_var,
                     const Tensor& y) = 0;
  /// Gradients of train(). What the activation was given is computed anew from x, so that y need
  /// not be kept, unless something is added. dgamma and dbeta are overwritten. dx may be the same
  /// view as dy; null data: not wanted. `dmeans` {N,1,1,C}, null data or, where nothing is added,
  /// the gradient of y's means over each image: their share is added to dy. `skip` is read if
  /// desc.adds.
  virtual void backward(const BatchNormDesc& desc, const Tensor& x, const Tensor& dy,
                        const Tensor& dmeans, const Tensor& gamma, const Tensor& beta,
                        const Tensor& saved_mean, const Tensor& saved_inv_std,
                        const SkipGradient& skip, const Tensor& dx, const Tensor& dgamma,
                        const Tensor& dbeta, void* workspace) = 0;
  /// The convolution that equals one with `weights` {K,kh,kw,C/g} and `bias` {1,1,1,K} (null data:
  /// none) followed by infer(): scale = gamma / sqrt(running_var + eps), folded_weights =
  /// weights * scale and folded_bias = (bias - running_mean) * scale + beta. All fp32 and dense.
  virtual void fold(const BatchNormDesc& desc, const Tensor& weights, const Tensor& bias,
                    const Tensor& gamma, const Tensor& beta, const Tensor& running_mean,
                    const Tensor& running_var, const Tensor& folded_weights,
                    const Tensor& folded_bias) = 0;
  /// The convolution that equals one with `first` {M,kh,kw,C} and its bias followed by one of 1 x 1
  /// with `second` {K,1,1,M} and its: product {K,kh,kw,C} = second * first, and product_bias =
  /// second * first_bias + second_bias. All fp32 and dense.
  virtual void compose(const Tensor& first, const Tensor& first_bias, const Tensor& second,
                       const Tensor& second_bias, const Tensor& product,
                       const Tensor& product_bias) = 0;
};

/// Requires what train() says of `skip`, and y to be like x.
void check_train(const BatchNormDesc& desc, const Tensor& x, const Tensor& skip, const Tensor& y);

/// Requires what backward() says of its tensors.
void check_backward(const BatchNormDesc& desc, const Tensor& x, const Tensor& dy,
                    const Tensor& dmeans, const SkipGradient& skip, const Tensor& dx);

/// Requires the shapes of compose().
void check_compose(const Tensor& first, const Tensor& first_bias, const Tensor& second,
                   const Tensor& second_bias, const Tensor& product, const Tensor& product_bias);

}  // namespace macadam
