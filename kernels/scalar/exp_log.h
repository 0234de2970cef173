#pragma once
// exp and log as short straight lines of arithmetic, which a compiler turns into vector code; the
// library's functions are one call an element. Source of the polynomials: Cephes (S. Moshier),
// expf and logf.

#include <cmath>
#include <cstdint>

#include "kernels/scalar/half.h"

namespace macadam::scalar {

/// e^x within 2 ulp; 0 below -87 (where the result would be subnormal), NaN stays NaN.
/// Requires x <= 88.
MACADAM_HD float exp_inline(float x) {
  const float lowest = -87.0f;
  const float clamped = x < lowest ? lowest : x;
  // Adding 1.5 * 2^23 rounds to an integer, which then sits in the low bits.
  const float shifter = 12582912.0f;
  const float shifted = clamped * 1.44269504088896341f + shifter;
  const float n = shifted - shifter;
  const float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + (r + 1.0f);
  const float power = float_of_bits((bits_of_float(shifted) << 23) + 0x3f800000u);
  return x < lowest ? 0.0f : p * power;
}

/// ln x within 2 ulp for normal x > 0; NaN stays NaN.
MACADAM_HD float log_inline(float x) {
  // x = m * 2^e with m in [sqrt(1/2), sqrt(2)).
  const uint32_t bits = bits_of_float(x);
  const uint32_t offset = bits - 0x3f3504f3u;
  const auto e = static_cast<float>(static_cast<int32_t>(offset) >> 23);
  const float m = float_of_bits((offset & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  const float z = m * m;
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const float tail = p * m * z + e * -2.12194440e-4f - 0.5f * z;
  const float result = (m + tail) + e * 0.693359375f;
  return x == x ? result : x;
}

/// For formulas that are written once for both.
MACADAM_HD double exp_inline(double x) { return std::exp(x); }
MACADAM_HD double log_inline(double x) { return std::log(x); }

}  // namespace macadam::scalar
