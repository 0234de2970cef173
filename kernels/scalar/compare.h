#pragma once
// The orders in which maxima are taken, NaN included.

#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

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
