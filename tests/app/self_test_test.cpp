// macadam info --self-test, and what training does before its first plan.

#if defined(MACADAM_HAS_ONEDNN)

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "tests/app/program.h"
#include "tests/kernels/environment.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;

class SelfTestCommand : public ::testing::Test {
 protected:
  ProgramResult run(const std::vector<std::string>& arguments) {
    return macadam(folder_.path(), arguments);
  }
  fs::path remembered() const {
    const fs::path cache = folder_ / "cache";
    if (!fs::exists(cache)) return {};
    const fs::directory_iterator first(cache);
    return first == fs::directory_iterator() ? fs::path() : first->path();
  }

  ScratchFolder folder_;
  macadam::testing::Variable cache_{"MACADAM_CACHE", (folder_ / "cache").string()};
};

TEST_F(SelfTestCommand, SaysThatThisMachineIsRight) {
  const ProgramResult result = run({"info", "--self-test"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("all exact and within their buffers"), std::string::npos) << result.out;

  const auto json = nlohmann::json::parse(run({"info", "--self-test", "--json"}).out);
  EXPECT_EQ(json.at("library").get<std::string>().rfind("oneDNN ", 0), 0u);
  for (const auto& precision : json.at("precisions")) {
    EXPECT_GT(precision.at("passes").get<int>(), 20);
    EXPECT_TRUE(precision.at("faults").empty());
  }
  expect_input_error(run({"info", "unet_mini", "--self-test"}), {"--self-test"});
  expect_input_error(run({"info", "--self-test", "--train"}), {"--self-test"});
}

/// The allowed instruction set is another machine.
TEST_F(SelfTestCommand, IsOfTheAllowedInstructionSet) {
  const macadam::testing::Variable isa("ONEDNN_MAX_CPU_ISA", "AVX2");
  const ProgramResult result = run({"info", "--self-test"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("(avx2), fp32:"), std::string::npos) << result.out;
  EXPECT_EQ(result.out.find("bf16"), std::string::npos) << "AVX2 has none: " << result.out;
  EXPECT_NE(run({"info"}).out.find("fp32 by default"), std::string::npos);
}

TEST_F(SelfTestCommand, TrainingBeginsWithItAndNothingElseDoes) {
  const std::vector<std::string> network{"info",     "unet_mini", "--size",      "64x64",
                                         "--device", "cpu",       "--precision", "fp32"};
  std::vector<std::string> training = network;
  training.push_back("--train");
  EXPECT_EQ(run(network).exit_code, 0);
  EXPECT_TRUE(remembered().empty()) << "inference asks for no gradients";
  EXPECT_EQ(run(training).exit_code, 0);
  ASSERT_FALSE(remembered().empty());

  std::ifstream stream(remembered());
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  text.insert(text.find("ran\t"),
              "bad\tweight gradient\toneDNN jit:amx\ta convolution\tbad sums\n");
  std::ofstream(remembered()) << text;
  expect_error(run(training), 1, {"weight gradient", "jit:amx", "bad sums", "ONEDNN_MAX_CPU_ISA"});
  EXPECT_EQ(run(network).exit_code, 0);

  const std::vector<std::string> synth{"synth", "streets", "--images", "8", "--size", "64x32"};
  ASSERT_EQ(run(synth).exit_code, 0);
  std::ofstream(folder_ / "small.toml") << small_config(1);
  expect_error(run({"train", "small.toml"}), 1, {"weight gradient", "jit:amx", "bad sums"});
  EXPECT_FALSE(fs::exists(folder_ / "runs")) << "nothing half-made";
  EXPECT_EQ(run({"info", "--self-test"}).exit_code, 0) << "which looks anew";
  EXPECT_EQ(run({"train", "small.toml"}).exit_code, 0);
}

}  // namespace
}  // namespace macadam

#endif
