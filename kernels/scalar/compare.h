#pragma once
// The orders in which maxima are taken, NaN included, and ReLU.

#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

/// max(x, 0); NaN passes through.
MACADAM_HD float relu(float x) { return x <= 0.0f ? 0.0f : x; }

/// Pooling: whether `candidate` replaces an earlier `best`. NaN is the greatest, the first of
/// equals wins.
MACADAM_HD bool pool_wins(float candidate, float best) {
  return candidate > best || (candidate != candidate && best == best);
}

/// Argmax: whether `candidate` replaces an earlier `best`. NaN is the lowest, the first of equals
/// wins.
MACADAM_HD bool score_wins(float candidate, float best) {
  return candidate > best || (best != best && candidate == candidate);
}

}  // namespace macadam::scalar
