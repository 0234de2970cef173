// Conversions of the 16-bit types, for every bit pattern, against arithmetic in double.

#include "kernels/scalar/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace macadam::scalar {
namespace {

/// A binary floating-point format with 16 bits.
struct Format {
  int fraction_bits;
  int min_exponent;  // of normal values
  double overflow;   // this and above round to infinity
};
constexpr Format kBf16{7, -126, 0x1.ffp127};
constexpr Format kF16{10, -14, 65520};

/// The value of a bit pattern, by the definition of IEEE 754.
double decode(uint16_t bits, const Format& format) {
  const int fraction = bits & ((1 << format.fraction_bits) - 1);
  const int exponent_bits = 15 - format.fraction_bits;
  const int exponent = (bits >> format.fraction_bits) & ((1 << exponent_bits) - 1);
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1)
    return fraction ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  const double significand = std::ldexp(fraction, -format.fraction_bits);
  if (exponent == 0) return sign * std::ldexp(significand, format.min_exponent);
  return sign * std::ldexp(1 + significand, format.min_exponent + exponent - 1);
}

/// `value` rounded to nearest, ties to even, in double.
double round_to_format(double value, const Format& format) {
  if (std::isnan(value) || value == 0) return value;
  if (std::abs(value) >= format.overflow)
    return std::copysign(std::numeric_limits<double>::infinity(), value);
  const int exponent = std::max(std::ilogb(value), format.min_exponent);
  const double spacing = std::ldexp(1, exponent - format.fraction_bits);
  return std::nearbyint(value / spacing) * spacing;  // exact but for the rounding itself
}

template <typename T>
constexpr Format format_of() {
  return std::is_same_v<T, bf16> ? kBf16 : kF16;
}

template <typename T>
void expect_rounds(float value) {
  const double got = to_float(from_float<T>(value));
  const double want = round_to_format(value, format_of<T>());
  if (std::isnan(want)) {
    ASSERT_TRUE(std::isnan(got)) << value;
  } else {
    ASSERT_EQ(got, want) << std::hexfloat << value;
    ASSERT_EQ(std::signbit(got), std::signbit(want)) << std::hexfloat << value;
  }
}

template <typename T>
class Half : public ::testing::Test {};
using HalfTypes = ::testing::Types<bf16, f16>;
TYPED_TEST_SUITE(Half, HalfTypes);

TYPED_TEST(Half, EveryPatternDecodesAndReturns) {
  for (uint32_t pattern = 0; pattern < 65536; ++pattern) {
    const TypeParam stored{static_cast<uint16_t>(pattern)};
    const double want = decode(stored.bits, format_of<TypeParam>());
    const float got = to_float(stored);
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(got)) << pattern;
      ASSERT_TRUE(std::isnan(to_float(from_float<TypeParam>(got)))) << pattern;
    } else {
      ASSERT_EQ(static_cast<double>(got), want) << pattern;
      ASSERT_EQ(from_float<TypeParam>(got).bits, pattern);
    }
  }
}

/// Around every value and every midpoint between neighbours: the midpoint itself (a tie) and the
/// floats next to it.
TYPED_TEST(Half, RoundsToNearestEven) {
  for (uint32_t pattern = 0; pattern < 65535; ++pattern) {
    if (pattern == 0x7fff) continue;  // the next pattern is -0
    const float low = to_float(TypeParam{static_cast<uint16_t>(pattern)});
    const float high = to_float(TypeParam{static_cast<uint16_t>(pattern + 1)});
    if (!std::isfinite(low) || !std::isfinite(high)) continue;
    const auto middle = static_cast<float>((double{low} + double{high}) / 2);
    for (const float value : {low, middle})
      for (const float near :
           {value, std::nextafter(value, -INFINITY), std::nextafter(value, INFINITY)})
        expect_rounds<TypeParam>(near);
  }
}

TYPED_TEST(Half, RoundsAnyFloat) {
  std::mt19937 random(1);
  for (int i = 0; i < 1'000'000; ++i)
    expect_rounds<TypeParam>(float_of_bits(static_cast<uint32_t>(random())));
}

TYPED_TEST(Half, Overflow) {
  constexpr float largest = std::numeric_limits<float>::max();
  EXPECT_EQ(to_float(from_float<TypeParam>(largest)), INFINITY);
  EXPECT_EQ(to_float(from_float<TypeParam>(-largest)), -INFINITY);
  const auto limit = static_cast<float>(format_of<TypeParam>().overflow);
  EXPECT_EQ(to_float(from_float<TypeParam>(limit)), INFINITY);
  EXPECT_LT(to_float(from_float<TypeParam>(std::nextafter(limit, 0.0f))), INFINITY);
}

}  // namespace
}  // namespace macadam::scalar
