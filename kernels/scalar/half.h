#pragma once
// 16-bit floating-point storage types and their conversions, the same bits on host and device.
// Arithmetic is always done in float; these types only store.

#include <cstdint>
#include <cstring>

#include "kernels/scalar/host_device.h"

namespace macadam {

/// bfloat16: the upper half of an IEEE binary32.
struct bf16 {
  uint16_t bits;
};

/// IEEE binary16.
struct f16 {
  uint16_t bits;
};

namespace scalar {

MACADAM_HD float float_of_bits(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

MACADAM_HD uint32_t bits_of_float(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
#endif
}

MACADAM_HD float to_float(float v) { return v; }
MACADAM_HD float to_float(uint8_t v) { return static_cast<float>(v); }
MACADAM_HD float to_float(bf16 v) { return float_of_bits(static_cast<uint32_t>(v.bits) << 16); }

/// Exact. Subnormals are rebuilt by one multiplication with 2^112 (no branch on the exponent).
MACADAM_HD float to_float(f16 v) {
  const uint32_t sign = static_cast<uint32_t>(v.bits & 0x8000u) << 16;
  const uint32_t rest = static_cast<uint32_t>(v.bits & 0x7fffu) << 13;
  const bool special = (v.bits & 0x7c00u) == 0x7c00u;
  const float scaled = float_of_bits(rest) * 5.192296858534828e33f;  // 2^112
  const uint32_t magnitude = special ? (rest | 0x7f800000u) : bits_of_float(scaled);
  return float_of_bits(sign | magnitude);
}

/// Rounds to nearest, ties to even; NaN stays NaN (quieted).
MACADAM_HD bf16 to_bf16(float value) {
  const uint32_t bits = bits_of_float(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet = (bits >> 16) | 0x40u;
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return bf16{static_cast<uint16_t>(nan ? quiet : rounded)};
}

/// Rounds to nearest, ties to even; overflow gives infinity; NaN stays NaN.
MACADAM_HD f16 to_f16(float value) {
  const uint32_t bits = bits_of_float(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u;
  } else if (magnitude >= 0x477ff000u) {  // 65520 and above round to infinity
    half = 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // below 2^-14: subnormal, rounded by the float adder
    half = bits_of_float(float_of_bits(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    half = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  }
  return f16{static_cast<uint16_t>(sign | half)};
}

/// from_float<T>(v): v rounded to the storage type T (float, bf16 or f16).
template <typename T>
MACADAM_HD T from_float(float value);
template <>
MACADAM_HD float from_float<float>(float value) {
  return value;
}
template <>
MACADAM_HD bf16 from_float<bf16>(float value) {
  return to_bf16(value);
}
template <>
MACADAM_HD f16 from_float<f16>(float value) {
  return to_f16(value);
}

}  // namespace scalar
}  // namespace macadam
