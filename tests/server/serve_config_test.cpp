#include "server/serve_config.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "base/error.h"
#include "server/service_config.h"
#include "tests/paths.h"

using namespace macadam;

namespace {

TEST(ServeConfig, TheDocumentHasEveryKey) {
  std::ifstream file(source_path("docs/server.md"));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::string mark = "<!-- from here on: macadam serve --keys -->\n";
  const size_t at = text.find(mark);
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(text.substr(at + mark.size()), service_keys_markdown<ServeConfig>())
      << "run: build/release/macadam serve --keys, and put it behind the mark";
}

TEST(ServeConfig, TheCommandLineGoesBeforeTheFile) {
  const std::string path = ::testing::TempDir() + "serve.toml";
  std::ofstream(path) << "port = 9000\nmodels = [\"a\", \"n:2=b\"]\nmax_delay_ms = 2.5\n";
  const std::vector<std::string> overrides{"port=9001", "host=::1"};
  const ServeConfig config = load_service_config<ServeConfig>(path, overrides);
  EXPECT_EQ(config.port, 9001);
  EXPECT_EQ(config.host, "::1");
  EXPECT_EQ(config.models, (std::vector<std::string>{"a", "n:2=b"}));
  EXPECT_EQ(config.max_delay_ms, 2.5);
  EXPECT_EQ(load_service_config<ServeConfig>({}, {}).port, 8080);
}

TEST(ServeConfig, WhatDoesNotFitIsNamed) {
  for (const char* override_text :
       {"port=-1", "port=65536", "port=x", "replicas=0", "max_batch=65", "queue=0",
        "max_megapixels=nan", "max_megapixels=-1", "max_megapixels=inf", "deadline_ms=1e400",
        "max_body_mb=99999999999999999999", "prot=1", "models=3", "threads=-1"}) {
    const std::vector<std::string> overrides{override_text};
    EXPECT_THROW(load_service_config<ServeConfig>({}, overrides), InputError) << override_text;
  }
}

}  // namespace
