#pragma once
// The dropout mask: one Philox block serves eight neighbouring elements, 16 bits each. Stochastic
// depth reads it with one element a sample.

#include <cstdint>

#include "kernels/scalar/philox.h"

namespace macadam::scalar {

constexpr int kDropoutGroup = 8;

/// Random bits of elements [8 * group, 8 * group + 8) of the dense NHWC element order of one
/// layer's output at one step.
MACADAM_HD PhiloxBlock dropout_block(uint64_t seed, uint64_t step, uint32_t layer, uint32_t group) {
  const PhiloxBlock counter{
      {group, layer, static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32)}};
  return philox(counter, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}

/// Whether element `lane` (0..7) of the group survives.
MACADAM_HD bool dropout_keeps(const PhiloxBlock& block, int lane, uint32_t threshold) {
  const uint32_t half = (block.word[lane >> 1] >> ((lane & 1) * 16)) & 0xffffu;
  return half >= threshold;
}

/// Whether element `element` of the layer's output survives, for a caller that asks for one alone.
MACADAM_HD bool dropout_keeps(uint64_t seed, uint64_t step, uint32_t layer, uint32_t element,
                              uint32_t threshold) {
  const PhiloxBlock block = dropout_block(seed, step, layer, element / kDropoutGroup);
  return dropout_keeps(block, static_cast<int>(element % kDropoutGroup), threshold);
}

}  // namespace macadam::scalar
