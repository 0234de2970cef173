// Interrupting and resuming the real program; determinism over loader threads.

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "program.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;

/// The losses of all steps, exactly as logged.
std::vector<std::string> step_losses(const fs::path& run) {
  std::vector<std::string> losses;
  for (const std::string& line : lines_of(read_text(run / "log.jsonl"))) {
    const auto entry = nlohmann::json::parse(line);
    if (entry.at("event") == "step") losses.push_back(entry.at("loss").dump());
  }
  return losses;
}

class Resume : public testing::Test {
 protected:
  void SetUp() override {
    const ProgramResult synth =
        macadam(scratch_.path(), {"synth", "streets", "--images", "20", "--size", "64x32"});
    ASSERT_EQ(synth.exit_code, 0) << synth.err;
    write_text(scratch_ / "run.toml", small_config(3, R"(checkpoint_seconds = 0.001
augment = [
  {name = "RandomScale", scale_limit = 0.5, p = 1},
  {name = "RandomCrop", class_uniform = 0.5},
  {name = "HorizontalFlip"},
  {name = "ElasticTransform", alpha = 40, sigma = 6, alpha_affine = 4},
  {name = "GaussNoise", p = 0.7},
  {name = "Blur", p = 0.3},
]
)"));
  }
  std::vector<std::string> train(const std::string& name, const std::string& extra) {
    const ProgramResult result =
        macadam(scratch_.path(), {"train", "run.toml", "name=" + name, extra});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return step_losses(run(name));
  }
  fs::path run(const std::string& name) const { return scratch_ / "runs" / name; }

  /// Starts training, sends `signal` once a checkpoint inside an epoch exists, waits.
  ProgramResult interrupt(const std::string& name, int signal) {
    Program program(scratch_.path(), {"train", "run.toml", "name=" + name});
    while (program.running() && !fs::exists(run(name) / "last.safetensors")) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    program.send(signal);
    return program.wait();
  }

  ScratchFolder scratch_;
};

TEST_F(Resume, LoaderThreadsAndKillDoNotChangeABit) {
  const std::vector<std::string> one = train("one", "loader.threads=1");
  ASSERT_EQ(one.size(), 24u);
  EXPECT_EQ(one, train("two", "loader.threads=2"));

  const ProgramResult killed = interrupt("killed", SIGKILL);
  EXPECT_EQ(killed.exit_code, 128 + SIGKILL);
  ASSERT_LT(step_losses(run("killed")).size(), one.size()) << "it was killed too late to tell";
  const ProgramResult resumed =
      macadam(scratch_.path(), {"train", "run.toml", "name=killed", "--resume"});
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(one, step_losses(run("killed")));
}

// The first epoch freezes the way down, the others train everything.
TEST_F(Resume, WhileParametersAreFrozenAndAfter) {
  const std::string freeze = "freeze=[{pattern = \"down*\", epochs = 1}]";
  const std::vector<std::string> whole = train("whole", freeze);
  EXPECT_NE(whole, train("unfrozen", "loader.threads=0"));
  for (const size_t epochs : {0u, 1u}) {
    const std::string name = "stopped" + std::to_string(epochs);
    Program program(scratch_.path(), {"train", "run.toml", "name=" + name, freeze});
    const auto results = [&] { return lines_of(read_text(run(name) / "results.csv")).size(); };
    while (program.running() && (!fs::exists(run(name) / "last.safetensors") ||
                                 results() < (epochs == 0 ? 0 : epochs + 1))) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    program.send(SIGINT);
    ASSERT_EQ(program.wait().exit_code, 130) << "it was interrupted too late to tell";
    EXPECT_EQ(results() > 1, epochs > 0);
    const ProgramResult resumed =
        macadam(scratch_.path(), {"train", "run.toml", "name=" + name, freeze, "--resume"});
    ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_EQ(whole, step_losses(run(name)));
  }
  const ProgramResult changed =
      macadam(scratch_.path(), {"train", "run.toml", "name=whole", "--resume"});
  EXPECT_EQ(changed.exit_code, 2);
  EXPECT_NE(changed.err.find("'freeze' is a list of 0"), std::string::npos) << changed.err;
}

TEST_F(Resume, CtrlCWritesACheckpoint) {
  const ProgramResult interrupted = interrupt("stopped", SIGINT);
  EXPECT_EQ(interrupted.exit_code, 130) << interrupted.err;
  EXPECT_NE(interrupted.err.find("macadam train run.toml name=stopped --resume"), std::string::npos)
      << interrupted.err;
  const ProgramResult resumed =
      macadam(scratch_.path(), {"train", "run.toml", "name=stopped", "--resume"});
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(step_losses(run("stopped")), train("whole", "loader.threads=0"));
}

}  // namespace
}  // namespace macadam
