#include "base/cache_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/base/temporary_folder.h"
#include "tests/kernels/environment.h"

namespace macadam::testing {
namespace {

TEST(CacheFolder, FollowsTheEnvironment) {
  const Variable home("HOME", "/home/me");
  {
    const Variable own("MACADAM_CACHE", "/own"), xdg("XDG_CACHE_HOME", "/xdg");
    EXPECT_EQ(cache_folder(), "/own");
  }
  {
    const Variable own("MACADAM_CACHE", ""), xdg("XDG_CACHE_HOME", "/xdg");
    EXPECT_EQ(cache_folder(), "") << "no cache";
  }
  const Variable own("MACADAM_CACHE", std::nullopt);
  {
    const Variable xdg("XDG_CACHE_HOME", "/xdg");
    EXPECT_EQ(cache_folder(), "/xdg/macadam");
  }
  for (const auto& useless : {std::optional<std::string>(), std::optional<std::string>("here")}) {
    const Variable xdg("XDG_CACHE_HOME", useless);
    EXPECT_EQ(cache_folder(), "/home/me/.cache/macadam");
    const Variable homeless("HOME", std::nullopt);
    EXPECT_EQ(cache_folder(), "");
  }
}

TEST(CacheFile, IsReplacedOrLeftAsItWas) {
  const testing::TemporaryFolder folder;
  const auto file = folder.path() / "made" / "file";
  const auto content = [&] {
    std::ifstream stream(file);
    return std::string{std::istreambuf_iterator<char>(stream), {}};
  };
  ASSERT_TRUE(replace_cache_file(file, "first").has_value());
  EXPECT_EQ(content(), "first");
  const auto status = replace_cache_file(file, "second one");
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->st_size, 10);
  EXPECT_EQ(content(), "second one");
  EXPECT_FALSE(replace_cache_file(file / "below a file", "third").has_value());
  EXPECT_EQ(content(), "second one");
}

}  // namespace
}  // namespace macadam::testing
