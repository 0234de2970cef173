#pragma once
// Batch normalisation over N, H, W for each channel, with optional fused ReLU.
// Source: Ioffe and Szegedy, 2015; running statistics as PyTorch keeps them.

#include <cstddef>

#include "kernels/tensor.h"

namespace macadam {

struct BatchNormDesc {
  float eps = 1e-5f;
  float momentum = 0.1f;  // PyTorch's sense: running = (1 - momentum) * running + momentum * batch
  bool relu = false;      // y = max(normalised, 0)
  /// train() normalises by the running statistics and leaves them alone, and backward() takes them
  /// for constants: fine-tuning with the statistics of the pretrained weights.
  bool frozen = false;
};

/// Vectors {1,1,1,C} are fp32; x, y, dy, dx share shape and dtype and may be channel slices.
class NormOps {
 public:
  virtual ~NormOps() = default;

  virtual size_t workspace_bytes(Shape shape) const = 0;
  /// Normalises by the batch's biased variance; updates running_mean and running_var (unbiased
  /// variance; a batch of one value keeps it biased); saves mean and 1/sqrt(var + eps) for
  /// backward. With desc.frozen the running statistics take the batch's place.
  virtual void train(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma,
                     const Tensor& beta, const Tensor& running_mean, const Tensor& running_var,
                     const Tensor& saved_mean, const Tensor& saved_inv_std, const Tensor& y,
                     void* workspace) = 0;
  /// Normalises by the running statistics.
  virtual void infer(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma,
                     const Tensor& beta, const Tensor& running_mean, const Tensor& running_var,
                     const Tensor& y) = 0;
  /// Gradients of train(). `y` is read only with desc.relu (its sign masks dy). dgamma and dbeta
  /// are overwritten. dx may be the same view as dy.
  virtual void backward(const BatchNormDesc& desc, const Tensor& x, const Tensor& y,
                        const Tensor& dy, const Tensor& gamma, const Tensor& saved_mean,
                        const Tensor& saved_inv_std, const Tensor& dx, const Tensor& dgamma,
                        const Tensor& dbeta, void* workspace) = 0;
};

}  // namespace macadam
