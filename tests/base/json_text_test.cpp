#include "base/json_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

using namespace macadam;

TEST(JsonText, IsJsonWhateverItsTextsAre) {
  const nlohmann::json value{{"name",
                              "a\xff\xfe"
                              "b"}};
  EXPECT_EQ(json_text(value), "{\"name\":\"a\uFFFD\uFFFDb\"}");
  EXPECT_EQ(json_text(nlohmann::ordered_json(value)), json_text(value));
  EXPECT_EQ(json_text(value, 1), "{\n \"name\": \"a\uFFFD\uFFFDb\"\n}");
}

TEST(JsonText, SaysTheSameWithoutWhatATerminalObeys) {
  const nlohmann::json value{{"k\u202e", "\x1b[2J\x7f\u009b\n\u2028 Straße"}};
  const std::string text = json_text(value);
  EXPECT_EQ(text, R"({"k\u202e":"\u001b[2J\u007f\u009b\n\u2028 Straße"})");
  EXPECT_EQ(nlohmann::json::parse(text), value);
}

TEST(JsonText, ExactTextIsRefusedUnlessItIsUtf8) {
  EXPECT_EQ(exact_json_text({{"a", "\u009b"}}, "", "", ""), "{\"a\":\"\u009b\"}");
  try {
    exact_json_text({{"a", "\xff"}}, "not UTF-8", "here", "rename it");
    ADD_FAILURE() << "accepted";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "not UTF-8: here: rename it");
  }
}
