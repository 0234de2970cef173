// Lost logs, lost results and signals: what becomes of a run when nobody listens any more.

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "shared_folder.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;

class Streams : public SharedFolder<Streams> {
 protected:
  static void SetUpTestSuite() {
    train_on_streets(folder(), 6, small_config(1), {"name=model"});
    write_text(folder() / "long.toml", small_config(500, "checkpoint_seconds = 1000\n"));
    fs::copy_file(folder() / "runs/model/best.safetensors", folder() / "model.safetensors");
  }
  static ProgramResult shell(const std::string& command) {
    return Program::shell(folder(), command).wait();
  }

  /// A run of many epochs, under way; `command` begins it as "exec $train".
  static Program started(const std::string& name, const std::string& command) {
    Program program = Program::shell(
        folder(), "train=\"$macadam train long.toml name=" + name + "\"; " + command);
    const fs::path log = folder() / "runs" / name / "results.csv";
    while (program.running() && lines_of(read_text(log)).size() < 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return program;
  }
  static void expect_checkpoint(const std::string& name) {
    const ProgramResult info =
        macadam(folder(), {"info", "runs/" + name + "/last.safetensors", "--device", "cpu"});
    EXPECT_EQ(info.exit_code, 0) << info.err;
  }
};

TEST_F(Streams, TheRunOutlivesItsLog) {
  int runs = 0;
  for (const char* lost :
       {"2>/dev/full", "2>&-", "2>&1 >/dev/full", ">/dev/full 2>&1", ">&- 2>&-", "<&- >&- 2>&-"}) {
    const std::string name = "lost" + std::to_string(runs++);
    const ProgramResult train = shell("$macadam train run.toml name=" + name + " " + lost);
    EXPECT_EQ(train.exit_code, 0) << lost << '\n' << train.err;
    EXPECT_TRUE(fs::exists(folder() / "runs" / name / "report.html")) << lost;
    expect_checkpoint(name);  // nothing of the log has landed in the files
    EXPECT_EQ(read_text(folder() / "runs" / name / "log.jsonl").find("macadam"), std::string::npos);
  }
  const ProgramResult head =
      shell("{ $macadam train run.toml name=head; echo $? >status; } 2>&1 | head -n 1");
  EXPECT_EQ(lines_of(head.out).size(), 1u) << head.out;
  EXPECT_EQ(read_text(folder() / "status"), "0\n");
  expect_checkpoint("head");
}

TEST_F(Streams, EveryOtherCommandOutlivesItsLogToo) {
  for (const char* command :
       {"check streets", "eval model.safetensors streets", "pack streets full.pack",
        "predict model.safetensors streets/leftImg8bit/val/* -o masks", "info unet_mini",
        "convert model.safetensors smaller.onnx", "synth more --images 4 --size 64x32"}) {
    for (const char* lost : {" 2>/dev/full", " 2>&-"}) {
      const ProgramResult result = shell(std::string("$macadam ") + command + lost);
      EXPECT_EQ(result.exit_code, 0) << command << lost << '\n' << result.err;
    }
    fs::remove_all(folder() / "more");
  }
}

TEST_F(Streams, ALostResultIsAFailure) {
  for (const char* command :
       {"info", "info --json", "info unet_mini --train", "info model.safetensors --json",
        "info streets", "check streets", "check streets --json", "eval model.safetensors streets",
        "eval model.safetensors streets --json", "train run.toml name=profiled --profile 1",
        "--help", "eval --help", "--version"}) {
    for (const char* lost : {" >/dev/full", " >&-"}) {
      const ProgramResult result = shell(std::string("$macadam ") + command + lost);
      expect_error(result, 1, {"the result was not written", "standard output"});
    }
  }
  // The reader has gone before anything is written.
  const ProgramResult piped = shell(
      "mkfifo pipe; { read go <pipe; $macadam check streets --json; echo $? >status; } |"
      " { exec <&-; echo >pipe; }");
  EXPECT_EQ(read_text(folder() / "status"), "1\n");
  expect_error({1, piped.out, piped.err}, 1, {"the result was not written"});
}

TEST_F(Streams, SummariesOfWhatIsInFilesMayBeLost) {
  for (const char* command : {"synth lost --images 4 --size 64x32", "pack streets lost.pack",
                              "predict model.safetensors streets/leftImg8bit/val/* -o lost_masks",
                              "convert model.safetensors lost.onnx"}) {
    const ProgramResult result = shell(std::string("$macadam ") + command + " >/dev/full");
    EXPECT_EQ(result.exit_code, 0) << command << '\n' << result.err;
  }
  EXPECT_TRUE(fs::exists(folder() / "lost.pack"));
}

TEST_F(Streams, EverySignalThatAsksToStopWritesACheckpoint) {
  for (const int signal : {SIGHUP, SIGTERM, SIGINT}) {
    const std::string name = "signal" + std::to_string(signal);
    Program program = started(name, "exec $train");
    program.send(signal);
    const ProgramResult result = program.wait();
    EXPECT_EQ(result.exit_code, 130) << result.err;
    EXPECT_NE(result.err.find("--resume"), std::string::npos) << result.err;
    expect_checkpoint(name);
  }
}

// `timeout` sends its signal to the process and to its group, a closing terminal SIGHUP by the
// kernel and by the shell, and systemd SIGTERM with SIGHUP.
TEST_F(Streams, OneRequestOfSeveralSignalsIsOneRequest) {
  Program program = started("several", "exec $train");
  for (const int signal : {SIGTERM, SIGHUP, SIGTERM, SIGCONT, SIGHUP}) program.send(signal);
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.exit_code, 130) << result.err;
  expect_checkpoint("several");
}

TEST_F(Streams, UnderNohupTheRunGoesOn) {
  Program program = started("nohup", "trap '' HUP; exec $train");
  const fs::path log = folder() / "runs/nohup/results.csv";
  program.send(SIGHUP);
  const size_t before = lines_of(read_text(log)).size();
  while (program.running() && lines_of(read_text(log)).size() < before + 3) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(program.running());
  program.send(SIGTERM);
  EXPECT_EQ(program.wait().exit_code, 130);
}

// What one reads in a file is what took long and what came out, not how far a second's work is.
TEST_F(Streams, InAFileShortProgressLeavesNoLine) {
  const ProgramResult train = macadam(folder(), {"train", "run.toml", "name=quiet"});
  ASSERT_EQ(train.exit_code, 0) << train.err;
  for (const std::string& line : lines_of(train.err)) {
    for (const char* label : {"training", "validation", "scoring"}) {
      EXPECT_FALSE(line.starts_with(label)) << line;
    }
  }
  EXPECT_NE(train.err.find("epoch 1: "), std::string::npos) << train.err;
  EXPECT_EQ(macadam(folder(), {"check", "streets"}).err, "");
}

}  // namespace
}  // namespace macadam
