#pragma once
// The softmax probability of the class of the largest score, as a byte: 1 / sum of
// exp(score - largest).

#include <cstdint>

#include "kernels/scalar/exp_log.h"
#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

/// What `score` adds to that sum: 1 where it is the largest or its equal, infinities too; 0 for
/// NaN. Requires score <= largest, or NaN for either.
MACADAM_HD float exp_share(float score, float largest) {
  const float e = exp_inline(score - largest);
  return score == largest ? 1.0f : e == e ? e : 0.0f;
}

/// round(255 / sum); 0 for a pixel whose scores are all NaN, whose sum is 0.
MACADAM_HD uint8_t confidence_byte(float sum) {
  return static_cast<uint8_t>(sum > 0 ? 255.0f / sum + 0.5f : 0.0f);
}

}  // namespace macadam::scalar
