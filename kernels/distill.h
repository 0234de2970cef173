#pragma once
// Channel-wise distillation: the scores of a network are drawn to those of another, its teacher.
// Each class's scores, over the temperature, become a distribution over the pixels of an image by a
// softmax, and the student's is to be the teacher's. Source: Shu et al., "Channel-wise Knowledge
// Distillation for Dense Prediction", ICCV 2021.

#include <cstddef>
#include <cstdint>

#include "kernels/classes.h"
#include "kernels/tensor.h"

namespace macadam {

struct DistillDesc {
  // The authors' for scores (github.com/irfanICMLL/TorchDistiller, SemSeg-distill).
  float weight = 3;
  float temperature = 4;
  /// In device memory: how many images count, from the first on; null: all.
  const uint64_t* images = nullptr;
  /// In device memory, on the gradient alone; null: 1. As in LossDesc.
  const float* gradient_scale = nullptr;
};

/// Throws std::logic_error unless run() takes these.
void check_distill(const DistillDesc& desc, const Tensor& student, const Tensor& teacher,
                   const Tensor& d_student);

/// Scores are NxHxWxC, C <= kMaxLossClasses, and like d_student of one shape and dtype.
class DistillOps {
 public:
  virtual ~DistillOps() = default;

  virtual size_t workspace_bytes(Shape scores) const = 0;
  /// With p and q the softmax over an image's pixels of the teacher's and the student's scores of a
  /// class over the temperature T, and N the images that count:
  ///   value = weight * T^2 / (N * C) * sum over images and classes of KL(p || q),
  /// in device memory, 0 without an image; its gradient by the student's scores times
  /// gradient_scale, weight * T / (N * C) * (q - p), is added to d_student (null data: it is not
  /// wanted), which is another tensor than student, and whose spare channels stay as they are. Sums
  /// are in fp32 or wider, in an order that depends on the shape alone. NaN among the scores of a
  /// class makes the value NaN, and the gradient of that class in that image.
  virtual void run(const DistillDesc& desc, const Tensor& student, const Tensor& teacher,
                   const Tensor& d_student, float* value, void* workspace) = 0;
};

}  // namespace macadam
