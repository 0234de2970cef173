#pragma once
// Softmax cross-entropy and soft Dice, their weighted sum and its gradient, in one call.

#include <cstddef>
#include <cstdint>

#include "kernels/tensor.h"

namespace macadam {

/// What a class without a labelled pixel in the batch contributes to the Dice mean.
enum class AbsentClass : uint8_t {
  skip,      // it is left out, and the mean is over the classes present
  zero,      // it counts as a loss of 0, and the mean is over all classes (smp's rule)
  suppress,  // it counts like any other: its predicted probability is pushed down
};

/// With p = softmax(logits), g = one-hot label, m = label != ignore, sums over the whole batch:
///   ce   = sum m * w[label] * -((1 - s) * log p[label] + s / C * sum_c log p[c]) / sum m *
///   w[label]
///          (s = label_smoothing; with s > 0 the smoothed term is weighted by w[label] as a whole)
///   dice = mean over classes of 1 - (2 I_c + smooth) / (P_c + G_c + smooth),
///          I_c = sum m p_c g_c, P_c = sum m p_c, G_c = sum m g_c   (Milletari et al., 2016)
///   total = ce_weight * ce + dice_weight * dice
/// With dice_weight = 0 the sums of Dice are not taken, and dice is 0. All sums are in fp32 or
/// wider. No valid pixel gives losses and gradients of 0.
struct LossDesc {
  float ce_weight = 1;
  float dice_weight = 0;
  float label_smoothing = 0;
  float dice_smooth = 1;
  AbsentClass absent = AbsentClass::skip;
  int ignore = 255;
  /// In device memory, on the gradient alone; null: 1. Powers of two change no bit of it but the
  /// exponent.
  const float* gradient_scale = nullptr;
};

/// Results in device memory.
struct LossValues {
  float total = 0, ce = 0, dice = 0;
  float valid_pixels = 0;
};

class LossOps {
 public:
  virtual ~LossOps() = default;

  virtual size_t workspace_bytes(Shape logits) const = 0;
  /// logits: NxHxWxC, C <= 64. labels: u8 NxHxWx1, each < C or equal to `ignore`; others count as
  /// ignored. class_weights: f32 {1,1,1,C} or null data (all 1). d_logits: the gradient of
  /// `total` times gradient_scale, dtype of logits, or null data for the values alone; it may be
  /// the same view as logits, whose spare channels then stay as they are. values: device memory.
  virtual void segmentation(const LossDesc& desc, const Tensor& logits, const Tensor& labels,
                            const Tensor& class_weights, const Tensor& d_logits, LossValues* values,
                            void* workspace) = 0;
};

}  // namespace macadam
