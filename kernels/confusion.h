#pragma once
// From class scores to a mask, from sums of probabilities to scores, and from masks to counts.

#include <cstdint>

#include "kernels/classes.h"
#include "kernels/tensor.h"

namespace macadam {

class ConfusionOps {
 public:
  virtual ~ConfusionOps() = default;

  /// classes[p] = index of the largest score of pixel p, the lowest index among equals; NaN counts
  /// as the lowest score. classes: u8 NxHxWx1, dense; scores: floating point NxHxWxC, C <=
  /// kMaxClasses. confidence[p] = round(255 * the softmax probability of that class), 0 where all
  /// scores are NaN; u8, as classes; null data: not wanted, and not computed.
  virtual void argmax(const Tensor& scores, const Tensor& classes, const Tensor& confidence) = 0;
  /// Sums of a pixel's class probabilities, with whatever weights, become logarithms of their
  /// shares (scalar::log_share): scores whose softmax is the mean. sums: f32 NxHxWxC, dense,
  /// C <= 255, not negative; a pixel without any gets equal scores.
  virtual void log_shares(const Tensor& sums) = 0;
  /// counts[label * classes + prediction] += 1 for every pixel whose label and prediction are
  /// below `classes`; a label at or above it (255: ignore) is skipped. counts: device memory.
  virtual void count(const Tensor& predictions, const Tensor& labels, int classes,
                     uint64_t* counts) = 0;
};

}  // namespace macadam
