#include "app/shell_word.h"

#include <gtest/gtest.h>

namespace macadam {
namespace {

TEST(ShellWord, QuotesWhatAShellWouldRead) {
  EXPECT_EQ(shell_word("run-1_b.toml"), "run-1_b.toml");
  EXPECT_EQ(shell_word("loader.threads=2"), "loader.threads=2");
  EXPECT_EQ(shell_word(""), "''");
  EXPECT_EQ(shell_word("a b"), "'a b'");
  EXPECT_EQ(shell_word("~/it's [1]"), "'~/it'\\''s [1]'");
  EXPECT_EQ(shell_word("straße"), "'straße'");
  EXPECT_EQ(shell_word("a\n'\\\xff"), "$'a\\x0a\\'\\\\\\xff'");
  EXPECT_EQ(shell_word("\xC2\x9B"), "$'\\xc2\\x9b'");
}

}  // namespace
}  // namespace macadam
