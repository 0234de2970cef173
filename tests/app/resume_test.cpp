// Interrupting and resuming the real program (tests/run/resume_test.cpp does so at chosen steps).

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
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

/// results.csv without its last three columns, which are times.
std::string without_times(const fs::path& results) {
  std::string text;
  for (const std::string& line : lines_of(read_text(results))) {
    size_t end = line.size();
    for (int column = 0; column < 3; ++column) end = line.rfind(',', end - 1);
    text += line.substr(0, end) + "\n";
  }
  return text;
}

// Whenever it is killed: while it starts, trains, validates, or writes. How far it comes between
// two kills depends on the machine, what it ends with does not.
TEST(Resume, KilledAtTwentyMomentsEndsAsIfItHadNeverStopped) {
  const ScratchFolder scratch;
  expect_success(
      macadam(scratch.path(), {"synth", "streets", "--images", "20", "--size", "64x32"}));
  write_text(scratch / "run.toml", small_config(6, R"(checkpoint_seconds = 0.001
ema = 0.9
average_best = 2
early_stopping.patience = 0
)"));
  const auto begin = std::chrono::steady_clock::now();
  expect_success(macadam(scratch.path(), {"train", "run.toml", "name=whole"}));
  const auto whole = std::chrono::steady_clock::now() - begin;
  const fs::path run = scratch / "runs/killed";
  std::mt19937 random(7);
  int kills = 0;
  while (kills < 20) {
    std::vector<std::string> arguments{"train", "run.toml", "name=killed"};
    if (fs::exists(run / "last.safetensors")) arguments.emplace_back("--resume");
    Program program(scratch.path(), arguments);
    std::this_thread::sleep_for(whole * (random() % 1000) / 4000);
    program.send(SIGKILL);
    const ProgramResult result = program.wait();
    ASSERT_TRUE(result.exit_code == 0 || result.exit_code == 128 + SIGKILL) << result.err;
    ++kills;
  }
  expect_success(
      macadam(scratch.path(), {"train", "run.toml", "name=killed",
                               fs::exists(run / "last.safetensors") ? "--resume" : "seed=1"}));
  EXPECT_EQ(step_losses(run), step_losses(scratch / "runs/whole"));
  EXPECT_EQ(without_times(run / "results.csv"), without_times(scratch / "runs/whole/results.csv"));
  for (const char* file : {"best.safetensors", "last.safetensors", "average.safetensors"}) {
    EXPECT_EQ(read_text(run / file), read_text(scratch / "runs/whole" / file)) << file;
  }
}

}  // namespace
}  // namespace macadam
