#pragma once
// Normalisation: of image bytes, and of one channel's values by batch statistics.

#include <cmath>

#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

/// y = scale * x + shift.
struct Affine {
  float scale, shift;

  MACADAM_HD float operator()(float x) const { return scale * x + shift; }
};

/// (byte * range / 255 - mean) / std.
MACADAM_HD Affine byte_normalization(float mean, float std, float range) {
  return {range / (255.0f * std), -mean / std};
}

MACADAM_HD float inverse_std(float variance, float eps) { return 1.0f / std::sqrt(variance + eps); }

/// gamma * (x - mean) * inv_std + beta.
MACADAM_HD Affine batch_norm(float gamma, float beta, float mean, float inv_std) {
  const float scale = gamma * inv_std;
  return {scale, beta - mean * scale};
}

/// Batch norm's gradient: dx = scale * dy + slope * x + shift, given the sums over the `count`
/// values of the channel: dbeta = sum dy, dgamma = sum dy * (x - mean) * inv_std.
/// Source: Ioffe and Szegedy, 2015, section 3, with the statistics' own gradients folded in.
struct BatchNormGradient {
  float scale, slope, shift;

  MACADAM_HD float operator()(float dy, float x) const { return scale * dy + (slope * x + shift); }
};

MACADAM_HD BatchNormGradient batch_norm_gradient(float gamma, float mean, float inv_std,
                                                 float dgamma, float dbeta, double count) {
  const float scale = gamma * inv_std;
  const float slope = static_cast<float>(-static_cast<double>(scale) * dgamma * inv_std / count);
  const float shift =
      static_cast<float>(-static_cast<double>(scale) * dbeta / count) - slope * mean;
  return {scale, slope, shift};
}

/// The same where mean and inv_std are constants.
MACADAM_HD BatchNormGradient frozen_batch_norm_gradient(float gamma, float inv_std) {
  return {gamma * inv_std, 0.0f, 0.0f};
}

}  // namespace macadam::scalar
