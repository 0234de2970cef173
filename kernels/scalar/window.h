#pragma once
// Class probabilities of windows that overlap: their weights, and what becomes of their sums.

#include "kernels/scalar/exp_log.h"
#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

/// Of a row or column of a window: falls linearly from its middle to its edges, never to zero.
MACADAM_HD float edge_weight(int position, int extent) {
  const int from_start = position + 1, to_end = extent - position;
  return static_cast<float>(from_start < to_end ? from_start : to_end);
}

/// ln(sum / total); the smallest normal float stands for shares below it, and for 0 / 0.
MACADAM_HD float log_share(float sum, float total) {
  const float least = 1.17549435e-38f;
  const float share = sum / total;
  return log_inline(share > least ? share : least);
}

}  // namespace macadam::scalar
