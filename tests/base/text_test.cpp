#include "base/text.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

using namespace macadam;

TEST(Text, QuoteKeepsPrintableTextAndEscapesTheRest) {
  EXPECT_EQ(quote("conv1.weight"), "'conv1.weight'");
  EXPECT_EQ(quote("Straße"), "'Straße'");
  EXPECT_EQ(quote("a\nb\x1b[31m"), "'a\\x0ab\\x1b[31m'");
  EXPECT_EQ(quote("\xC2\x9B"), "'\\u{009b}'");  // a C1 control character
  EXPECT_EQ(quote("\xFF"
                  "a\xC3"),
            "'\\xffa\\xc3'");  // not UTF-8
  EXPECT_EQ(quote(std::string("\0", 1)), "'\\x00'");
}

TEST(Text, QuoteIsBounded) {
  EXPECT_EQ(quote("abcdef", 4), "'abcd...'");
  EXPECT_EQ(quote("abcd", 4), "'abcd'");
  EXPECT_EQ(quote("abcö", 4), "'abc...'");  // never half a character
}

TEST(Text, NearestFindsTypos) {
  const std::array<std::string, 4> keys{"lr", "batch", "epochs", "early_stopping.patience"};
  EXPECT_EQ(nearest("bacth", keys), "batch");
  EXPECT_EQ(nearest("Epoch", keys), "epochs");
  EXPECT_EQ(nearest("early_stoping.patience", keys), "early_stopping.patience");
  EXPECT_EQ(nearest("x", {}), "");
}

TEST(Text, Utf8IsCheckedStrictly) {
  EXPECT_TRUE(is_utf8("plain"));
  EXPECT_TRUE(is_utf8("\xE2\x82\xAC \xF0\x9F\x9A\x97"));
  EXPECT_FALSE(is_utf8("\xC0\xAF"));          // overlong
  EXPECT_FALSE(is_utf8("\xE0\x80\x80"));      // overlong
  EXPECT_FALSE(is_utf8("\xED\xA0\x80"));      // surrogate
  EXPECT_FALSE(is_utf8("\xF4\x90\x80\x80"));  // beyond U+10FFFF
  EXPECT_FALSE(is_utf8("\xE2\x82"));          // cut off
  EXPECT_FALSE(is_utf8("\x80"));
}

TEST(Text, PaddingCountsCharactersNotBytes) {
  EXPECT_EQ(pad_right("ö", 3), "ö  ");
  EXPECT_EQ(pad_left("ö", 3), "  ö");
  EXPECT_EQ(pad_left("long", 3), "long");
}
