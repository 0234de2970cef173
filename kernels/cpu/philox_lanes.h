#pragma once
// The random bits of dropout for many groups at once: scalar::dropout_block with neighbouring
// groups in the lanes of vectors, bit for bit.

#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/scalar/dropout.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace macadam::cpu {

/// Groups computed together, and the elements that they serve.
constexpr int kPhiloxLanes = 32;
constexpr int kPhiloxElements = kPhiloxLanes * scalar::kDropoutGroup;

// A word's low half serves the even element: in little-endian memory the halves lie in order.
static_assert(std::endian::native == std::endian::little);

/// bits[8 * g + lane] = the 16 bits that dropout_keeps(block of group first_group + g, lane, ...)
/// compares, for g in [0, kPhiloxLanes).
inline void dropout_bits(uint64_t seed, uint64_t step, uint32_t layer, uint32_t first_group,
                         uint16_t* bits) {
  auto key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
#if defined(__AVX512F__)
  // Words in the lower halves of 64-bit lanes: one instruction multiplies just those and ignores
  // what lies above. Twice as fast as what a compiler makes of the loops below.
  using Lanes = uint64_t __attribute__((vector_size(64)));
  const auto multiply = [](uint32_t multiplier, Lanes words) {
    const Lanes factor = Lanes{} + multiplier;
    return reinterpret_cast<Lanes>(_mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(factor),
                                                          reinterpret_cast<__m512i>(words)));
  };
  const auto lower_halves = [](Lanes even, Lanes odd) {
    using Words = uint32_t __attribute__((vector_size(64)));
    const auto a = reinterpret_cast<Words>(even), b = reinterpret_cast<Words>(odd);
    return reinterpret_cast<Lanes>(
        __builtin_shufflevector(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30));
  };
  constexpr int kWidth = 8, kVectors = kPhiloxLanes / kWidth;
  constexpr Lanes kCount = {0, 1, 2, 3, 4, 5, 6, 7};
  Lanes w0[kVectors], w1[kVectors], w2[kVectors], w3[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    w0[v] = kCount + first_group + static_cast<uint64_t>(v * kWidth);
    w1[v] = Lanes{} + layer;
    w2[v] = Lanes{} + step;
    w3[v] = Lanes{} + (step >> 32);
  }
#pragma GCC unroll 10
  for (int round = 0; round < scalar::kPhiloxRounds; ++round) {
    for (int v = 0; v < kVectors; ++v) {
      const Lanes p0 = multiply(scalar::kPhiloxMultiplier0, w0[v]);
      const Lanes p1 = multiply(scalar::kPhiloxMultiplier1, w2[v]);
      w0[v] = (p1 >> 32) ^ w1[v] ^ static_cast<uint64_t>(key0);
      w1[v] = p1;
      w2[v] = (p0 >> 32) ^ w3[v] ^ static_cast<uint64_t>(key1);
      w3[v] = p0;
    }
    key0 += scalar::kPhiloxWeyl0;
    key1 += scalar::kPhiloxWeyl1;
  }
  for (int v = 0; v < kVectors; ++v) {
    const auto w01 = lower_halves(w0[v], w1[v]), w23 = lower_halves(w2[v], w3[v]);
    const Lanes groups[2] = {__builtin_shufflevector(w01, w23, 0, 8, 1, 9, 2, 10, 3, 11),
                             __builtin_shufflevector(w01, w23, 4, 12, 5, 13, 6, 14, 7, 15)};
    std::memcpy(bits + v * kWidth * scalar::kDropoutGroup, groups, sizeof groups);
  }
#else
  constexpr int n = kPhiloxLanes;
  alignas(64) uint32_t w0[n], w1[n], w2[n], w3[n];
#pragma omp simd
  for (int l = 0; l < n; ++l) {
    w0[l] = first_group + static_cast<uint32_t>(l);
    w1[l] = layer;
    w2[l] = static_cast<uint32_t>(step);
    w3[l] = static_cast<uint32_t>(step >> 32);
  }
  for (int round = 0; round < scalar::kPhiloxRounds; ++round) {
#pragma omp simd
    for (int l = 0; l < n; ++l) {
      const uint64_t p0 = static_cast<uint64_t>(scalar::kPhiloxMultiplier0) * w0[l];
      const uint64_t p1 = static_cast<uint64_t>(scalar::kPhiloxMultiplier1) * w2[l];
      w0[l] = static_cast<uint32_t>(p1 >> 32) ^ w1[l] ^ key0;
      w1[l] = static_cast<uint32_t>(p1);
      w2[l] = static_cast<uint32_t>(p0 >> 32) ^ w3[l] ^ key1;
      w3[l] = static_cast<uint32_t>(p0);
    }
    key0 += scalar::kPhiloxWeyl0;
    key1 += scalar::kPhiloxWeyl1;
  }
  alignas(64) uint32_t words[4 * n];
#pragma omp simd
  for (int l = 0; l < n; ++l) {
    words[4 * l] = w0[l];
    words[4 * l + 1] = w1[l];
    words[4 * l + 2] = w2[l];
    words[4 * l + 3] = w3[l];
  }
  std::memcpy(bits, words, sizeof words);
#endif
}

}  // namespace macadam::cpu
