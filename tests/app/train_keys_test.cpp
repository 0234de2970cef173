// The keys of a configuration as the program lists them.

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "program.h"
#include "run/config.h"
#include "run/config_keys.h"

namespace macadam {
namespace {

TEST(TrainKeys, AreListedAsTableDocumentAndJson) {
  const ScratchFolder scratch;
  const ProgramResult table = macadam(scratch.path(), {"train", "--keys"});
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_EQ(table.out, keys_table());
  const ProgramResult markdown = macadam(scratch.path(), {"train", "--keys", "--markdown"});
  EXPECT_EQ(markdown.out, keys_markdown());
  const ProgramResult json = macadam(scratch.path(), {"train", "--keys", "--json"});
  const auto keys = nlohmann::json::parse(json.out);
  ASSERT_EQ(keys.size(), fields_of(Config()).size());
  const auto warmup = std::ranges::find_if(
      keys, [](const nlohmann::json& key) { return key.at("key") == "warmup"; });
  ASSERT_NE(warmup, keys.end());
  EXPECT_EQ(warmup->at("type"), "a number from 0 to epochs");
  EXPECT_EQ(warmup->at("default"), "a tenth of epochs, at most 1; with one_cycle 0.3 of them");
  EXPECT_EQ(warmup->at("on_resume"), "kept");
  expect_input_error(macadam(scratch.path(), {"train"}), {"config is required"});
  expect_input_error(macadam(scratch.path(), {"train", "--json"}), {"--keys"});
  expect_input_error(macadam(scratch.path(), {"train", "--keys", "my.toml"}), {"--keys"});
}

}  // namespace
}  // namespace macadam
