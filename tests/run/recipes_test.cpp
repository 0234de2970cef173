// Every file under recipes/ is a configuration, and those of studies list runs that are.

#include <gtest/gtest.h>

#include <filesystem>

#include "run/sweep.h"
#include "tests/paths.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;

TEST(Recipes, AreConfigurations) {
  int files = 0, studies = 0;
  for (const auto& entry : fs::directory_iterator(source_path("recipes"))) {
    if (entry.path().extension() != ".toml") continue;
    SCOPED_TRACE(entry.path().filename().string());
    ++files;
    const Config config = load_config(entry.path(), {});
    EXPECT_TRUE(entry.path().stem().string().starts_with(config.name)) << config.name;
    if (config.variants.empty()) continue;
    ++studies;
    for (const SweepPoint& point : sweep_grid(config.name, {}, config.variants)) {
      SCOPED_TRACE(point.name);
      const Config run = load_config(entry.path(), {}, point.variant, point.overrides);
      EXPECT_EQ(run.name, point.name);
      EXPECT_EQ(run.patience, 0) << "runs of a study are as long as each other";
    }
  }
  EXPECT_GE(files, 5);
  EXPECT_GE(studies, 3);
}

}  // namespace
}  // namespace macadam
