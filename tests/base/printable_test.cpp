#include "base/printable.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

using namespace macadam;

TEST(Printable, KeepsWhatShowsItself) {
  const std::string text = "conv1.weight Straße 道路 \xF0\x9F\x9A\x97 a\\b 'c' \"d\"";
  EXPECT_EQ(printable(text), text);
  EXPECT_EQ(printable(""), "");
}

TEST(Printable, EscapesWhatATerminalObeys) {
  EXPECT_EQ(printable("\x1b[2J\x07"), "\\x1b[2J\\x07");
  EXPECT_EQ(printable("a\nb\rc\td"), "a\\x0ab\\x0dc\\x09d");
  EXPECT_EQ(printable(std::string("\0\x7f", 2)), "\\x00\\x7f");
  EXPECT_EQ(printable("\u009b31m"), "\\u{009b}31m");  // C1: a terminal's other way to begin
  EXPECT_EQ(printable("gpj\u202e.exe\u2066\u200f"), "gpj\\u{202e}.exe\\u{2066}\\u{200f}");
  EXPECT_EQ(printable("a\u2028b"), "a\\u{2028}b");
}

TEST(Printable, EscapesBytesThatAreNotUtf8) {
  EXPECT_EQ(printable("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(printable("a\xC3"), "a\\xc3");                  // cut off
  EXPECT_EQ(printable("\xC0\x9B"), "\\xc0\\x9b");           // overlong
  EXPECT_EQ(printable("\xED\xA0\x80"), "\\xed\\xa0\\x80");  // a surrogate
}

TEST(Printable, TwiceIsOnce) {
  std::string every;
  for (int c = 0; c < 256; ++c) every += static_cast<char>(c);
  const std::string once = printable(every);
  EXPECT_EQ(printable(once), once);
  for (const char c : once) EXPECT_TRUE(c >= ' ' && c < '\x7f') << once;
}

TEST(Printable, LinesKeepTheirEnds) {
  EXPECT_EQ(printable_lines("a\x1b\nb\r\n"), "a\\x1b\nb\\x0d\n");
}

TEST(Printable, AnErrorIsOneLine) {
  const InputError error("a\nb", "c\x1b[31m", "d\u202e");
  EXPECT_STREQ(error.what(), "a\\x0ab: c\\x1b[31m: d\\u{202e}");
}
