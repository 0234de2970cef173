#include "server/view/view_config.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "base/error.h"
#include "server/service_config.h"
#include "tests/paths.h"

using namespace macadam;

namespace {

TEST(ViewConfig, TheDocumentHasEveryKey) {
  std::ifstream file(source_path("docs/viewer.md"));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::string mark = "<!-- from here on: macadam view --keys -->\n";
  const size_t at = text.find(mark);
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(text.substr(at + mark.size()), service_keys_markdown<ViewConfig>())
      << "run: build/release/macadam view --keys, and put it behind the mark";
}

TEST(ViewConfig, TakesNames) {
  const std::vector<std::string> overrides{"names=[\"a.example\", \"b\"]", "port=0"};
  EXPECT_EQ(load_service_config<ViewConfig>({}, overrides).names,
            (std::vector<std::string>{"a.example", "b"}));
  EXPECT_EQ(load_service_config<ViewConfig>({}, std::vector<std::string>{"names=a.example"}).names,
            (std::vector<std::string>{"a.example"}));
}

}  // namespace
