#include "server/http/target.h"

#include <gtest/gtest.h>

using namespace macadam;

namespace {

using Path = std::vector<std::string>;

TEST(Target, IsDecodedSegmentBySegment) {
  const auto target = parse_target("/v1/images/a%20b%2Fc?limit=3&name=x+y%26z&flag");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, (Path{"v1", "images", "a b/c"}));
  ASSERT_EQ(target->query.size(), 3u);
  EXPECT_EQ(target->query[0], (std::pair<std::string, std::string>("limit", "3")));
  EXPECT_EQ(target->query[1].second, "x y&z");
  EXPECT_EQ(target->query[2], (std::pair<std::string, std::string>("flag", "")));
}

TEST(Target, OneSlashAtTheEndIsPassedOver) {
  EXPECT_EQ(parse_target("/v2/")->path, Path{"v2"});
  EXPECT_EQ(parse_target("/v2//")->path, (Path{"v2", ""})) << "two are an empty segment";
  EXPECT_TRUE(parse_target("/")->path.empty());
  EXPECT_TRUE(parse_target("/?a=1")->path.empty());
}

TEST(Target, DotsAreNames) {
  EXPECT_EQ(parse_target("/a/../b")->path, (Path{"a", "..", "b"}));
  EXPECT_EQ(parse_target("/a/%2e%2e%2fb")->path, (Path{"a", "../b"}));
}

TEST(Target, WhatIsNotWellFormedIsNothing) {
  for (const char* text : {"", "a", "*", "/%", "/%4", "/%4g", "/%00", "/%0a", "/%7f", "/%ff",
                           "/a?b=%", "/a?b=%c3%28", "/a#b"}) {
    EXPECT_FALSE(parse_target(text)) << text;
  }
  std::string deep;
  for (int i = 0; i < 65; ++i) deep += "/a";
  EXPECT_FALSE(parse_target(deep));
}

}  // namespace
