#pragma once
// The random bits of dropout for many groups at once: scalar::dropout_block with neighbouring
// groups in the lanes of a vector, bit for bit.

#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/scalar/dropout.h"

namespace macadam::cpu {

/// Groups computed together, and the elements that they serve.
constexpr int kPhiloxLanes = 32;
constexpr int kPhiloxElements = kPhiloxLanes * scalar::kDropoutGroup;

/// What a lane holds its 32-bit words in: the width in which the CPU multiplies vectors, so that
/// nothing is widened in the rounds (1.5 times as fast with AVX-512, 2.7 times as slow without).
#if defined(__AVX512DQ__)
using PhiloxLane = uint64_t;
#else
using PhiloxLane = uint32_t;
#endif

/// bits[8 * g + lane] = the 16 bits that dropout_keeps(block of group first_group + g, lane, ...)
/// compares, for g in [0, kPhiloxLanes).
inline void dropout_bits(uint64_t seed, uint64_t step, uint32_t layer, uint32_t first_group,
                         uint16_t* bits) {
  constexpr int n = kPhiloxLanes;
  alignas(64) PhiloxLane w0[n], w1[n], w2[n], w3[n];
#pragma omp simd
  for (int l = 0; l < n; ++l) {
    w0[l] = first_group + static_cast<uint32_t>(l);
    w1[l] = layer;
    w2[l] = static_cast<uint32_t>(step);
    w3[l] = static_cast<uint32_t>(step >> 32);
  }
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < scalar::kPhiloxRounds; ++round) {
#pragma omp simd
    for (int l = 0; l < n; ++l) {
      const uint64_t p0 = static_cast<uint64_t>(scalar::kPhiloxMultiplier0) * w0[l];
      const uint64_t p1 = static_cast<uint64_t>(scalar::kPhiloxMultiplier1) * w2[l];
      w0[l] = static_cast<PhiloxLane>(p1 >> 32) ^ w1[l] ^ key0;
      w1[l] = static_cast<uint32_t>(p1);
      w2[l] = static_cast<PhiloxLane>(p0 >> 32) ^ w3[l] ^ key1;
      w3[l] = static_cast<uint32_t>(p0);
    }
    key0 += scalar::kPhiloxWeyl0;
    key1 += scalar::kPhiloxWeyl1;
  }
  // A word's low half serves the even element: in little-endian memory the halves lie in order.
  static_assert(std::endian::native == std::endian::little);
  alignas(64) uint32_t words[4 * n];
#pragma omp simd
  for (int l = 0; l < n; ++l) {
    words[4 * l] = static_cast<uint32_t>(w0[l]);
    words[4 * l + 1] = static_cast<uint32_t>(w1[l]);
    words[4 * l + 2] = static_cast<uint32_t>(w2[l]);
    words[4 * l + 3] = static_cast<uint32_t>(w3[l]);
  }
  std::memcpy(bits, words, sizeof words);
}

}  // namespace macadam::cpu
