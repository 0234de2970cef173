// One description of a structure reads it, refuses what does not fit, and writes it back.

#include "base/fields.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/field_reader.h"
#include "base/toml.h"

namespace macadam {
namespace {

enum class Kind : uint8_t { plain, fine };

struct Sample {
  bool on = false;
  int count = 3;
  float share = 0.1f;
  std::vector<float> pair{1, 0.25f};
  Kind kind = Kind::plain;
  std::string name = "a \"b\"";
  std::string file;
  Range range{-1, 1};

  void describe(Fields& f) {
    f.section("First");
    f.boolean({"on", "whether"}, on);
    f.integer({"count", "how many", {.on_resume = OnResume::free}}, count, 1, 9);
    f.number({"share", "how much", {.effect = {on, "on", "on = true"}}}, share, 0, 1);
    f.section("Second");
    f.numbers("inner.pair", pair, 0, 2);
    f.choice("inner.kind", kind, std::array<std::string, 2>{"plain", "fine"});
    f.text("name", name);
    f.path("file", file);
    f.range("range", range, Scalar::symmetric, -2, 2);
  }
};

/// A sample from a text, as the file /data/s.toml.
Sample read(const std::string& text, std::vector<FieldReader::Unread>* unread = nullptr) {
  const ParameterTable table = parse_toml(text, "/data/s.toml");
  FieldReader reader(table, {"'", "'", "/data/s.toml", "/data"});
  Sample sample;
  sample.describe(reader);
  if (unread != nullptr) *unread = reader.unread();
  return sample;
}

std::string complaint(const std::string& text) {
  try {
    read(text);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Fields, ReadWhatIsGivenAndLeaveTheRest) {
  const Sample s = read(
      "on = true\ncount = 4\nrange = 0.5\nfile = \"../x/\"\n[inner]\npair = [0, 2]\n"
      "kind = \"fine\"\n");
  EXPECT_TRUE(s.on);
  EXPECT_EQ(s.count, 4);
  EXPECT_EQ(s.share, 0.1f);
  EXPECT_EQ(s.pair, (std::vector<float>{0, 2}));
  EXPECT_EQ(s.kind, Kind::fine);
  EXPECT_EQ(s.range, (Range{-0.5, 0.5}));
  EXPECT_EQ(s.file, "/x");
}

TEST(Fields, WhatDoesNotFitIsNamedWithItsLine) {
  EXPECT_EQ(complaint("\ncount = 0"),
            "'count' is 0, which is out of range: /data/s.toml:2: write an integer from 1 to 9");
  EXPECT_EQ(
      complaint("[inner]\npair = [1, true]"),
      "'inner.pair' holds true or false: /data/s.toml:2: write a list of 2 numbers from 0 to 2");
  EXPECT_EQ(complaint("[inner]\nkind = \"fime\""),
            "'inner.kind' is 'fime': /data/s.toml:2: did you mean \"fine\"? (valid: \"plain\", "
            "\"fine\")");
  EXPECT_EQ(complaint("name = 1979-05-27"),
            "'name' is a date or time: /data/s.toml:1: write a string");
  EXPECT_EQ(complaint("inner = 3"),
            "'inner' is an integer: /data/s.toml:1: write a table with 'pair'");
  EXPECT_EQ(complaint("share = 0.5"),
            "'share' has no effect here: /data/s.toml:1: remove it, or write on = true");
  EXPECT_EQ(complaint("on = true\nshare = 0.5"), "");
}

TEST(Fields, WhatNobodyReadIsListed) {
  std::vector<FieldReader::Unread> unread;
  read("counts = 3\n[inner]\npairs = 1\n[outer]\nx = 1", &unread);
  ASSERT_EQ(unread.size(), 3u);
  EXPECT_EQ(unread[0].key, "counts");
  EXPECT_EQ(unread[1].key, "inner.pairs");
  EXPECT_EQ(place_of(unread[1].origin, ""), "/data/s.toml:3");
  EXPECT_EQ(unread[2].key, "outer");
}

TEST(Fields, TheListHoldsWhatReadingGivesBack) {
  Sample sample;
  sample.share = 1.0f / 3;
  FieldList list;
  sample.describe(list);
  ASSERT_EQ(list.fields().size(), 8u);
  EXPECT_EQ(list.fields()[1].type, "an integer from 1 to 9");
  EXPECT_EQ(list.fields()[1].field.notes.on_resume, OnResume::free);
  EXPECT_EQ(list.fields()[2].section, "First");
  EXPECT_FALSE(list.fields()[2].field.notes.effect.holds);
  EXPECT_EQ(toml_text({list.table()}),
            "{on = false, count = 3, share = 0.33333334, \"inner.pair\" = [1, 0.25], "
            "\"inner.kind\" = \"plain\", name = \"a \\\"b\\\"\", file = \"\", range = [-1, 1]}");
  const Sample again = read("on = true\nshare = " + toml_text(list.fields()[2].value));
  EXPECT_EQ(again.share, sample.share);
}

TEST(Fields, FloatsKeepTheirShortestText) {
  for (const float v : {0.1f, 1e-5f, 3.4028235e38f, 16777216.0f, 0.3f, -2.5f, 1e-40f}) {
    EXPECT_EQ(static_cast<float>(shortest(v)), v);
  }
  EXPECT_EQ(shortest(0.1f), 0.1);
}

TEST(Toml, OverridesAreValuesOrWords) {
  const auto text = [](const std::string& value) {
    return toml_text(parse_override_value(value, "k=" + value));
  };
  EXPECT_EQ(text("3"), "3");
  EXPECT_EQ(text("[1, 2.5]"), "[1, 2.5]");
  EXPECT_EQ(text("{b = 1, a = [true]}"), "{a = [true], b = 1}");
  EXPECT_EQ(text("ce + dice"), "\"ce + dice\"");
  EXPECT_EQ(text(""), "\"\"");
  EXPECT_THROW(text("[1"), InputError);
  EXPECT_THROW(text("1\nb = 2"), InputError);
  EXPECT_EQ(place_of(parse_override_value("3", "k=3").origin, ""), "'k=3'");
}

}  // namespace
}  // namespace macadam
