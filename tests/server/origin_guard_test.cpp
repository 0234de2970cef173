#include "server/view/origin_guard.h"

#include <gtest/gtest.h>

#include <vector>

using namespace macadam;

namespace {

TEST(OriginGuard, AddressesAndLocalhostAreOurs) {
  for (const char* host : {"127.0.0.1", "127.0.0.1:8081", "localhost", "LOCALHOST:1", "[::1]:8081",
                           "[::1]", "192.168.1.7:80"}) {
    EXPECT_TRUE(is_own_host(host, {})) << host;
  }
}

TEST(OriginGuard, NamesAreOursWhenTheyAreGiven) {
  const std::vector<std::string> names{"view.example.org", "other"};
  EXPECT_TRUE(is_own_host("View.Example.org:443", names));
  EXPECT_TRUE(is_own_host("other", names));
  for (const char* host : {"", ":80", "evil.example", "view.example.org.evil.example", "[::1",
                           "localhost.evil.example", "127.0.0.1.evil.example", "0x7f.1"}) {
    EXPECT_FALSE(is_own_host(host, names)) << host;
  }
  EXPECT_TRUE(is_own_host("evil.example", std::vector<std::string>{"*"}));
  EXPECT_FALSE(is_own_host("", std::vector<std::string>{"*"}));
}

bool cross_site(std::vector<HttpField> fields) {
  HttpRequest request;
  request.fields = std::move(fields);
  return is_cross_site(request);
}

TEST(OriginGuard, KnowsOtherSitesPages) {
  EXPECT_FALSE(cross_site({{"Host", "a"}})) << "curl sends neither field";
  EXPECT_FALSE(cross_site({{"Host", "a:1"}, {"Origin", "http://a:1"}}));
  EXPECT_TRUE(cross_site({{"Host", "a:1"}, {"Origin", "http://a:2"}}));
  EXPECT_TRUE(cross_site({{"Host", "a"}, {"Origin", "null"}}));
  EXPECT_FALSE(cross_site({{"Host", "a"}, {"Sec-Fetch-Site", "same-origin"}}));
  EXPECT_FALSE(cross_site({{"Host", "a"}, {"Sec-Fetch-Site", "none"}}));
  EXPECT_TRUE(
      cross_site({{"Host", "a"}, {"Sec-Fetch-Site", "cross-site"}, {"Origin", "http://a"}}));
  EXPECT_TRUE(cross_site({{"Host", "a"}, {"Sec-Fetch-Site", "same-site"}}));
}

}  // namespace
