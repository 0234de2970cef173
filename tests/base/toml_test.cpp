// TOML from anywhere, and back.

#include "base/toml.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"

namespace macadam {
namespace {

std::string complaint(std::string_view text) {
  try {
    parse_toml(text, "file.toml");
  } catch (const InputError& error) {
    return error.what();
  }
  return {};
}

// Characters beyond ASCII of every kind that toml++ tells white space by.
const std::vector<std::string> kBeyond{"ä",      "\u00A0", "\u1680",          "\u1700",
                                       "\u2028", "“",      "\u3000",          "語",
                                       "\uFEEF", "\uFEFF", "\xF0\x9F\x9A\x97"};

TEST(Toml, TakesAnyCharacterWithinStringsAndComments) {
  for (const std::string& c : kBeyond) {
    SCOPED_TRACE(c);
    for (const std::string& text :
         {"v = \"" + c + "\"", "v = '" + c + "' # " + c, "v = \"\"\"\n" + c + "\"\"\"",
          "v = '''" + c + "'''", "\"v\" = \"\\\"" + c + "\"  # it's " + c}) {
      const ParameterTable table = parse_toml(text, "file.toml");
      ASSERT_EQ(table.size(), 1u) << text;
      EXPECT_NE(std::get<std::string>(table[0].value.value).find(c), std::string::npos) << text;
    }
  }
  EXPECT_EQ(complaint("\xEF\xBB\xBFv = 1"), "") << "a byte order mark may begin a file";
}

TEST(Toml, RefusesThemElsewhereWithTheLine) {
  for (const std::string& c : kBeyond) {
    SCOPED_TRACE(c);
    for (const std::string& text :
         {"a = 1\n" + c + " = 2", "a = 1\nb = " + c, "a = 1\nb = [1," + c + " 2]",
          "# it's\nb" + c + " = 1", "a = 'x'\n[" + c + "]", "a = \"\\\\\"\nb = \"x\"" + c,
          "a = 1\nb = 0\"" + c + "\"", "a = 1\nb = '" + c + "'" + c}) {
      EXPECT_NE(complaint(text).find("file.toml:2"), std::string::npos)
          << text << ": " << complaint(text);
    }
  }
  EXPECT_NE(complaint("a = 1\nb = '\xFF'").find("not UTF-8"), std::string::npos);
  EXPECT_NE(complaint("a = 1\nb = '\xFF'").find("file.toml:2"), std::string::npos);
}

TEST(Toml, LinesThatGoOnKeepThem) {
  const ParameterTable table = parse_toml("a = \"\"\"x\\\n  ä\"\"\"\n\"ä\" = 1", "file.toml");
  ASSERT_EQ(table.size(), 2u);
  EXPECT_EQ(std::get<std::string>(find(table, "a")->value), "xä");
  EXPECT_NE(find(table, "ä"), nullptr);
}

TEST(Toml, ABareOverrideIsAString) {
  for (const std::string& c : kBeyond) {
    EXPECT_EQ(std::get<std::string>(parse_override_value(c, "name=" + c).value), c);
    EXPECT_EQ(std::get<std::string>(parse_override_value("a" + c, "name=a" + c).value), "a" + c);
    const ParameterValue list = parse_override_value("['" + c + "']", "names=...");
    EXPECT_EQ(std::get<std::string>(std::get<ParameterList>(list.value).at(0).value), c);
    EXPECT_THROW(parse_override_value("[" + c + "]", "names=..."), InputError);
  }
  EXPECT_EQ(std::get<std::string>(parse_override_value("\xFF", "name=...").value), "\xFF");
  EXPECT_THROW(parse_override_value("'\xFF'", "name=..."), InputError);
  EXPECT_EQ(std::get<int64_t>(parse_override_value("3", "batch=3").value), 3);
}

}  // namespace
}  // namespace macadam
