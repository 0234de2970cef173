// What the program asks of OpenMP, which reads its environment before main() runs.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/cores.h"
#include "program.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;

class Restart : public ::testing::Test {
 protected:
  Restart() {
    const ProgramResult synth =
        macadam(scratch_.path(), {"synth", "streets", "--images", "6", "--size", "64x32"});
    EXPECT_EQ(synth.exit_code, 0) << synth.err;
    write_text(scratch_ / "run.toml", small_config(500));
  }

  ProgramResult shell(const std::string& command) const {
    return Program::shell(scratch_.path(), command).wait();
  }

  /// The settings of OpenMP that a training run works under, when the user has set `own`.
  std::vector<std::string> settings(const std::string& own) {
    const std::string name = "run" + std::to_string(runs_++);
    const char* none = "unset OMP_WAIT_POLICY GOMP_SPINCOUNT KMP_BLOCKTIME OMP_NUM_THREADS; ";
    Program program = Program::shell(
        scratch_.path(), none + own + " echo $$ >pid; exec $macadam train run.toml name=" + name);
    const fs::path log = scratch_ / "runs" / name / "log.jsonl";
    while (program.running() && !fs::exists(log)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const fs::path process = "/proc/" + lines_of(read_text(scratch_ / "pid")).at(0);
    EXPECT_EQ(read_text(process / "comm"), "macadam\n");
    std::string environment = read_text(process / "environ");
    program.send(SIGKILL);
    program.wait();
    std::ranges::replace(environment, '\0', '\n');
    std::vector<std::string> found;
    for (const std::string& line : lines_of(environment)) {
      if (line.starts_with("OMP_") || line.starts_with("GOMP_")) found.push_back(line);
    }
    std::ranges::sort(found);
    return found;
  }

  ScratchFolder scratch_;
  int runs_ = 0;
};

TEST_F(Restart, ThreadsThatWaitSleepUnlessTheUserSaysOtherwise) {
  const auto has = [](const std::vector<std::string>& all, const std::string& one) {
    return std::ranges::find(all, one) != all.end();
  };
  EXPECT_TRUE(has(settings(""), "OMP_WAIT_POLICY=PASSIVE"));
  EXPECT_EQ(settings("export OMP_WAIT_POLICY=active OMP_NUM_THREADS=1;"),
            (std::vector<std::string>{"OMP_NUM_THREADS=1", "OMP_WAIT_POLICY=active"}));
  const std::vector<std::string> spins = settings("export GOMP_SPINCOUNT=7;");
  EXPECT_TRUE(has(spins, "GOMP_SPINCOUNT=7"));
  EXPECT_FALSE(has(spins, "OMP_WAIT_POLICY=PASSIVE"));
}

TEST_F(Restart, InfoTellsTheCoresOfTheAffinityMask) {
  const auto cores = [&](const std::string& how) {
    const ProgramResult info = shell(how + " $macadam info --json");
    EXPECT_EQ(info.exit_code, 0) << info.err;
    return nlohmann::json::parse(info.out).at("devices").at(0).at("cores").get<int>();
  };
  EXPECT_EQ(cores(""), usable_cores());
  EXPECT_EQ(cores("taskset -c $(taskset -cp $$ | grep -o '[0-9]*$')"), 1);
}

// Then /proc/self/exe is the loader.
TEST_F(Restart, BegunByTheDynamicLoaderItRunsAllTheSame) {
  const ProgramResult loaders = shell("ls /lib64/ld-linux-*.so.* /lib/ld-linux-*.so.* 2>/dev/null");
  if (loaders.out.empty()) GTEST_SKIP() << "no dynamic loader to call by name";
  const ProgramResult version = shell(lines_of(loaders.out).at(0) + " $macadam --version");
  EXPECT_EQ(version.exit_code, 0) << version.err;
  EXPECT_EQ(version.out, macadam(scratch_.path(), {"--version"}).out);
}

}  // namespace
}  // namespace macadam
