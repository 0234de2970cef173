// A whole journey on whatever instruction set oneDNN may use; the label isa runs it under several.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/app/program.h"

namespace macadam {
namespace {

using Json = nlohmann::json;

class InstructionSet : public ::testing::Test {
 protected:
  InstructionSet() {
    run({"synth", "streets", "--images", "6", "--size", "64x32"});
    write_text(folder_ / "run.toml", small_config(2));
  }

  /// Expects that it works.
  ProgramResult run(const std::vector<std::string>& arguments) const {
    const ProgramResult result = macadam(folder_.path(), arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result;
  }
  std::string model(const std::string& run) const {
    return read_text(folder_ / "runs" / run / "last.safetensors");
  }

  ScratchFolder folder_;
};

TEST_F(InstructionSet, TrainsToTheSameBitsScoresAndPredicts) {
  run({"train", "run.toml", "name=first"});
  const std::string first = model("first");
  std::filesystem::remove_all(folder_ / "runs" / "first");
  run({"train", "run.toml", "name=first"});
  EXPECT_FALSE(first.empty());
  EXPECT_TRUE(model("first") == first);

  const std::string best = "runs/first/best.safetensors";
  const Json trained = Json::parse(run({"info", best, "--json", "--device", "cpu"}).out);
  const Json scores =
      Json::parse(run({"eval", best, "streets", "--json", "--precision", "fp32"}).out);
  EXPECT_EQ(scores.at("miou_present"), trained.at("model").at("metrics").at("miou_present"));
  run({"predict", best, "streets/leftImg8bit", "-o", "masks"});
  const std::filesystem::recursive_directory_iterator masks(folder_ / "masks" / "ids");
  EXPECT_EQ(std::count_if(begin(masks), end(masks),
                          [](const auto& entry) { return entry.path().extension() == ".png"; }),
            6);
}

TEST_F(InstructionSet, Bf16RunsOrIsRefusedInOneLine) {
  const Json cpu = Json::parse(run({"info", "--json"}).out).at("devices").at(0);
  const ProgramResult train =
      macadam(folder_.path(), {"train", "run.toml", "name=bf16", "precision=bf16"});
  if (cpu.at("convolution_isa").get<std::string>().starts_with("avx512")) {
    EXPECT_EQ(train.exit_code, 0) << train.err;
  } else {
    expect_input_error(train, {"bf16", "AVX-512", "fp32"});
    EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"));
  }
}

}  // namespace
}  // namespace macadam
