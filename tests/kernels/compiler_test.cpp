// What the compiler must get right: GCC 12.2 did not, with AVX-512 and its default moves.

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace {

__attribute__((noinline)) int64_t digits(const std::vector<int64_t>& values) {
  int64_t number = 0;
  for (int64_t v : values) number = 10 * number + v;
  return number;
}

TEST(Compiler, ConstantsSurviveBeingCopied) {
  EXPECT_EQ(digits({1, 1, 1, 0}), 1110);
  EXPECT_EQ(digits({1, 1, 0, 0}), 1100);
  EXPECT_EQ(digits({2, 2, 2, 0}), 2220);
  EXPECT_EQ(digits({1, 1, 1, 1, 1, 1, 1, 0}), 11111110);
}

}  // namespace
