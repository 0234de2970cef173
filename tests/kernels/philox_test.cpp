#include "kernels/scalar/philox.h"

#include <gtest/gtest.h>

#include <array>

namespace macadam::scalar {
namespace {

using Words = std::array<uint32_t, 4>;

Words philox_words(const Words& counter, uint32_t key0, uint32_t key1) {
  const PhiloxBlock block =
      philox(PhiloxBlock{{counter[0], counter[1], counter[2], counter[3]}}, key0, key1);
  return {block.word[0], block.word[1], block.word[2], block.word[3]};
}

/// The vectors that Random123, the authors' library, ships for philox4x32 with 10 rounds.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox_words({0, 0, 0, 0}, 0, 0),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox_words({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 0xffffffff, 0xffffffff),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox_words({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

std::array<uint32_t, 2> philox_pair(uint32_t counter0, uint32_t counter1, uint32_t key) {
  const PhiloxPair pair = philox(PhiloxPair{{counter0, counter1}}, key);
  return {pair.word[0], pair.word[1]};
}

/// The same of philox2x32.
TEST(Philox, KnownAnswersOfPairs) {
  using Pair = std::array<uint32_t, 2>;
  EXPECT_EQ(philox_pair(0, 0, 0), (Pair{0xff1dae59, 0x6cd10df2}));
  EXPECT_EQ(philox_pair(0xffffffff, 0xffffffff, 0xffffffff), (Pair{0x2c3f628b, 0xab4fd7ad}));
  EXPECT_EQ(philox_pair(0x243f6a88, 0x85a308d3, 0x13198a2e), (Pair{0xdd7ce038, 0xf62a4c12}));
}

TEST(Philox, UniformStaysBelowOne) {
  EXPECT_EQ(uniform(0), 0.0f);
  EXPECT_EQ(uniform(0x80000000u), 0.5f);
  EXPECT_LT(uniform(0xffffffffu), 1.0f);
}

}  // namespace
}  // namespace macadam::scalar
