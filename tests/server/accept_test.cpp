// Accept fields: what has the most weight is given, what has none is not.

#include "server/http/accept.h"

#include <gtest/gtest.h>

#include "server/api/answer_formats.h"

using namespace macadam;

namespace {

constexpr auto kPng = AnswerFormat::png, kRle = AnswerFormat::rle, kRaw = AnswerFormat::raw;

TEST(Accept, TheMostWeightWinsAndOursComeFirst) {
  const struct {
    std::string_view field;
    std::optional<AnswerFormat> expected;
  } cases[] = {
      {"", kPng},
      {" , ,", kPng},
      {"*/*", kPng},
      {"image/*", kPng},
      {"IMAGE/PNG", kPng},
      {"application/json", kRle},
      {"application/octet-stream", kRaw},
      {"application/*", kRle},
      {"application/json, image/png", kPng},
      {"application/json, image/png;q=0.9", kRle},
      {"image/png;q=0.3,application/json;q=0.31", kRle},
      {"image/png ; q=0.3 , application/octet-stream; version=1 ;Q=0.5", kRaw},
      {"image/png;q=0, */*", kRle},
      {"image/*;q=0, application/json;q=0, */*;q=0.001", kRaw},
      {"*/*;q=0.5, image/png;q=0.1", kRle},
      {"*/*, image/*;q=0.5, image/png;q=0.7, application/*;q=0.6", kPng},
      {"*/*;q=0", std::nullopt},
      {"image/png;q=0", std::nullopt},
      {"image/png;q=0.000", std::nullopt},
      {"text/html", std::nullopt},
      {"multipart/mixed", kPng},
      {"multipart/*;q=0.2, application/json;q=0.1", kPng},
      {"text/html, application/octet-stream;q=0.9", kRaw},
      // What is no weight is none: all of these count as 1.
      {"application/json;q=, image/png;q=0.9", kRle},
      {"application/json;q=2, image/png;q=0.9", kRle},
      {"application/json;q=0.0001, image/png;q=0.9", kRle},
      {"application/json;q=-0, image/png;q=0.9", kRle},
      {"application/json;q=1.999, image/png;q=0.9", kRle},
  };
  for (const auto& [field, expected] : cases) {
    EXPECT_EQ(accepted_format(field), expected) << field;
  }
}

TEST(Accept, RangesAreWhatWasSent) {
  const auto ranges = media_ranges("a/b;q=0.25;x=y,\t*/*;q=1.000, c/d;q=0.5");
  ASSERT_EQ(ranges.size(), 3u);
  EXPECT_EQ(ranges[0].type, "a/b");
  EXPECT_EQ(ranges[0].weight, 250);
  EXPECT_EQ(ranges[1].type, "*/*");
  EXPECT_EQ(ranges[1].weight, 1000);
  EXPECT_EQ(weight_of("c/d", ranges), 500);
  EXPECT_EQ(weight_of("e/f", ranges), 1000);
  EXPECT_FALSE(weight_of("e/f", std::span(ranges).first(1)));
}

}  // namespace
