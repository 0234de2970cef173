#include "base/to_size.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <type_traits>

namespace {

using macadam::to_size;

TEST(ToSize, KeepsTheNumber) {
  static_assert(std::is_same_v<decltype(to_size(1)), size_t>);
  static_assert(to_size(0) == 0 && to_size(std::numeric_limits<int>::max()) == 2147483647u);
  EXPECT_EQ(to_size(std::numeric_limits<int64_t>::max()), size_t{9223372036854775807u});
  EXPECT_EQ(to_size(int8_t{127}), 127u);
}

TEST(ToSize, RefusesNegativeNumbersWhereAssertionsAreOn) {
#if defined(NDEBUG)
  GTEST_SKIP() << "a build without assertions";
#else
  EXPECT_DEATH(to_size(-1), "n >= 0");
#endif
}

}  // namespace
