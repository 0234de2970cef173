// Interrupting and resuming the real program (tests/run/resume_test.cpp does so at chosen steps).

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

// A run that would take hours, stopped as soon as it has begun: that it was finished before cannot
// be.
TEST(Resume, CtrlCWritesACheckpoint) {
  const ScratchFolder scratch;
  expect_success(
      macadam(scratch.path(), {"synth", "streets", "--images", "20", "--size", "64x32"}));
  write_text(scratch / "run.toml", small_config(100'000, R"(checkpoint_seconds = 0.001
schedule = "constant"
warmup = 0
early_stopping.patience = 0
)"));
  Program program(scratch.path(), {"train", "run.toml", "name=stopped"});
  const fs::path stopped = scratch / "runs/stopped";
  while (program.running() && !fs::exists(stopped / "last.safetensors")) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  program.send(SIGINT);
  const ProgramResult interrupted = program.wait();
  EXPECT_EQ(interrupted.exit_code, 130) << interrupted.err;
  EXPECT_NE(interrupted.err.find("macadam train run.toml name=stopped --resume"), std::string::npos)
      << interrupted.err;
  const size_t done = lines_of(read_text(stopped / "results.csv")).size();  // with the header
  const std::string epochs = "epochs=" + std::to_string(done + 1);
  expect_success(
      macadam(scratch.path(), {"train", "run.toml", "name=stopped", epochs, "--resume"}));
  expect_success(macadam(scratch.path(), {"train", "run.toml", "name=whole", epochs}));
  EXPECT_EQ(step_losses(stopped), step_losses(scratch / "runs/whole"));
}

}  // namespace
}  // namespace macadam
