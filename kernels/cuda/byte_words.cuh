#pragma once
// Bytes in words: single instructions of CUDA, and the same in plain C++.

#include <cstdint>

#include "kernels/cuda/launch.cuh"
#include "kernels/scalar/half.h"

namespace macadam::cuda {

/// Bytes `selector` (four digits, the lowest first) of the eight of b and a.
__device__ __forceinline__ uint32_t pick_bytes(uint32_t a, uint32_t b, uint32_t selector) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(a, b, selector);
#else
  const uint64_t bytes = uint64_t{b} << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t digit = selector >> (4 * i) & 7u;
    result |= static_cast<uint32_t>(bytes >> (8 * digit) & 0xffu) << (8 * i);
  }
  return result;
#endif
}

/// Byte `i` of a word as a float.
__device__ __forceinline__ float float_of_byte(uint32_t word, uint32_t i) {
  // The lowest byte of a float with the exponent of 2^23 counts whole numbers.
  constexpr float kShifter = 8388608.0f;
  return scalar::float_of_bits(pick_bytes(word, 0x4b000000u, 0x7440u | i)) - kShifter;
}

/// sum + the two weights of 16 bits times the two lower bytes.
__device__ __forceinline__ uint32_t add_weighted(uint32_t weights, uint32_t bytes, uint32_t sum) {
#if defined(__CUDA_ARCH__)
  return __dp2a_lo(weights, bytes, sum);
#else
  return sum + (weights & 0xffffu) * (bytes & 0xffu) + (weights >> 16) * (bytes >> 8 & 0xffu);
#endif
}

/// The same with the two upper bytes.
__device__ __forceinline__ uint32_t add_weighted_upper(uint32_t weights, uint32_t bytes,
                                                       uint32_t sum) {
#if defined(__CUDA_ARCH__)
  return __dp2a_hi(weights, bytes, sum);
#else
  return add_weighted(weights, bytes >> 16, sum);
#endif
}

/// The lower word of high:low shifted right by shift % 32 bits.
__device__ __forceinline__ uint32_t shift_words(uint32_t low, uint32_t high, uint32_t shift) {
#if defined(__CUDA_ARCH__)
  return __funnelshift_r(low, high, shift);
#else
  return static_cast<uint32_t>((uint64_t{high} << 32 | low) >> (shift & 31u));
#endif
}

}  // namespace macadam::cuda
