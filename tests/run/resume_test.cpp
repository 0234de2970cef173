// Interrupting and resuming: at a step that the test chooses, whatever the machine's speed.

#include <gtest/gtest.h>
#include <omp.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/to_size.h"
#include "run/training_run.h"
#include "tests/base/temporary_folder.h"
#include "tests/run/small_run.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

constexpr int64_t kEpochs = 3, kBatches = 4;
constexpr int64_t kSteps = kEpochs * kBatches;

const auto kNever = [] { return false; };

/// Ends the process where it stands after so many steps.
class Killer final : public RunObserver {
 public:
  explicit Killer(int64_t steps) : left_(steps) {}
  void on_step(const Progress&) override {
    if (--left_ == 0) raise(SIGKILL);
  }

 private:
  int64_t left_;
};

class Steps final : public RunObserver {
 public:
  void on_step(const Progress&) override { ++taken; }
  int64_t taken = 0;
};

/// A run `name` in `folder`, with an augmentation that draws of everything.
Config config(const fs::path& folder, const std::string& name,
              const std::vector<std::string>& overrides = {}) {
  return testing::small_run(folder, name, R"(augment = [
  {name = "RandomScale", scale_limit = 0.5, p = 1},
  {name = "RandomCrop", class_uniform = 0.5},
  {name = "HorizontalFlip"},
  {name = "ElasticTransform", alpha = 40, sigma = 6, alpha_affine = 4},
  {name = "GaussNoise", p = 0.7},
  {name = "Blur", p = 0.3},
]
)",
                            overrides);
}

/// The losses of all steps, exactly as logged.
std::vector<std::string> step_losses(const fs::path& folder, const std::string& name) {
  std::vector<std::string> losses;
  std::istringstream log(read_file(folder / "runs" / name / "log.jsonl", size_t{1} << 24));
  for (std::string line; std::getline(log, line);) {
    const auto entry = nlohmann::json::parse(line);
    if (entry.at("event") == "step") losses.push_back(entry.at("loss").dump());
  }
  return losses;
}

class ResumedRun : public ::testing::Test {
 protected:
  ResumedRun() { testing::write_small_streets(folder_.path(), 2 * kBatches); }

  std::vector<std::string> train(const std::string& name,
                                 const std::vector<std::string>& more = {}) {
    RunObserver observer;
    EXPECT_EQ(TrainingRun(config(folder_.path(), name, more), {}, observer).run(kNever).end,
              TrainingEnd::finished);
    return step_losses(folder_.path(), name);
  }
  /// The losses of a run that is stopped after `stop` steps, and goes on.
  std::vector<std::string> train_in_two(const std::string& name, int64_t stop,
                                        const std::vector<std::string>& more = {}) {
    const Config run = config(folder_.path(), name, more);
    Steps first, second;
    EXPECT_EQ(TrainingRun(run, {}, first).run([&] { return first.taken + 1 >= stop; }).end,
              TrainingEnd::interrupted);
    EXPECT_EQ(step_losses(folder_.path(), name).size(), to_size(stop));
    EXPECT_EQ(TrainingRun(run, {.resume = true}, second).run(kNever).end, TrainingEnd::finished);
    EXPECT_EQ(second.taken, kSteps - stop) << "no step is taken twice";
    return step_losses(folder_.path(), name);
  }

  TemporaryFolder folder_;
};

TEST_F(ResumedRun, LoaderThreadsAndInterruptionsDoNotChangeABit) {
  const std::vector<std::string> one = train("one", {"loader.threads=1"});
  ASSERT_EQ(one.size(), to_size(kSteps));
  EXPECT_EQ(one, train("two", {"loader.threads=2"}));
  for (const int64_t stop : {int64_t{1}, kBatches, kBatches + 3}) {
    SCOPED_TRACE(stop);
    EXPECT_EQ(one, train_in_two("stopped_" + std::to_string(stop), stop));
  }
}

/// What a run said.
class Listener final : public RunObserver {
 public:
  void on_notice(const std::string& line) override { lines += line + '\n'; }
  void on_step(const Progress&) override { ++steps; }
  std::string lines;
  int64_t steps = 0;
};

// oneDNN divides its sums among threads: another number of them rounds otherwise.
TEST_F(ResumedRun, AnotherNumberOfComputeThreadsIsSaid) {
  const int threads = omp_get_max_threads();
  const Config run = config(folder_.path(), "moved");
  omp_set_num_threads(1);
  Listener first, same, other, again;
  TrainingRun(run, {}, first).run([&] { return first.steps >= 1; });
  EXPECT_EQ(nlohmann::json::parse(read_file(folder_ / "runs/moved/data.json", 1 << 20))
                .at("compute")
                .at("threads"),
            1);
  TrainingRun(run, {.resume = true}, same).run([&] { return same.steps >= 1; });
  omp_set_num_threads(2);
  TrainingRun(run, {.resume = true}, other).run([&] { return other.steps >= 1; });
  TrainingRun(run, {.resume = true}, again).run([&] { return again.steps >= 1; });
  omp_set_num_threads(threads);
  EXPECT_EQ(same.lines.find("the run goes on on"), std::string::npos) << same.lines;
  EXPECT_NE(other.lines.find("with 2 threads"), std::string::npos) << other.lines;
  EXPECT_NE(other.lines.find("with 1 thread,"), std::string::npos) << other.lines;
  EXPECT_NE(other.lines.find("not bit for bit"), std::string::npos) << other.lines;
  EXPECT_EQ(again.lines.find("the run goes on on"), std::string::npos) << again.lines;
}

// The first epoch freezes the way down, the others train everything.
TEST_F(ResumedRun, WhileParametersAreFrozenAndAfter) {
  const std::vector<std::string> freeze{"freeze=[{pattern = \"down*\", epochs = 1}]"};
  const std::vector<std::string> whole = train("whole", freeze);
  EXPECT_NE(whole, train("unfrozen"));
  for (const int64_t stop : {kBatches, kBatches + 2}) {
    SCOPED_TRACE(stop);
    EXPECT_EQ(whole, train_in_two("stopped_" + std::to_string(stop), stop, freeze));
  }
  RunObserver observer;
  try {
    TrainingRun(config(folder_.path(), "whole"), {.resume = true}, observer);
    ADD_FAILURE() << "resumed without freezing";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("'freeze' is a list of 0"), std::string::npos)
        << error.what();
  }
}

// Whose normalization is its own. It may lie elsewhere then, but it must be the same.
TEST_F(ResumedRun, WithATeacher) {
  train("big", {"seed=5", "normalization={mean=[100, 100, 100], std=[60, 50, 40], range=255}"});
  const fs::path model = folder_ / "runs/big/best.safetensors";
  const auto taught_by = [](const fs::path& file) {
    return std::vector<std::string>{"teacher=" + file.string(), "teacher_temperature=2"};
  };
  const std::vector<std::string> whole = train("whole", taught_by(model));
  EXPECT_NE(whole, train("untaught"));
  for (const int64_t stop : {kBatches, kBatches + 2}) {
    SCOPED_TRACE(stop);
    EXPECT_EQ(whole, train_in_two("stopped_" + std::to_string(stop), stop, taught_by(model)));
  }

  const auto complaint = [&](const std::vector<std::string>& overrides) {
    RunObserver observer;
    try {
      TrainingRun(config(folder_.path(), "whole", overrides), {.resume = true}, observer);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const fs::path moved = folder_ / "moved.safetensors", other = folder_ / "other.safetensors";
  fs::copy_file(model, moved);
  EXPECT_EQ(complaint(taught_by(moved)), "");
  fs::copy_file(folder_ / "runs/untaught/best.safetensors", other);
  for (const auto& [overrides, part] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
           {taught_by(other), "'teacher' is '" + other.string() + "' (content "},
           {{}, "'teacher' is none, but the run was begun with '" + moved.string() + "' (content "},
           {{"teacher=" + moved.string(), "teacher_temperature=3"},
            "'teacher_temperature' is 3, but the run was begun with 2"}}) {
    EXPECT_NE(complaint(overrides).find(part), std::string::npos) << complaint(overrides);
  }
  fs::copy_file(other, moved, fs::copy_options::overwrite_existing);
  EXPECT_NE(complaint(taught_by(moved)).find("' (content "), std::string::npos)
      << "another model in its place";
  RunObserver observer;
  EXPECT_THROW(
      TrainingRun(config(folder_.path(), "untaught", taught_by(moved)), {.resume = true}, observer),
      InputError);
}

// Killed between two checkpoints, in a process of its own: whose folder lies in this one's.
TEST_F(ResumedRun, AKilledRunGoesOnFromItsLastCheckpoint) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  constexpr int64_t kLast = kBatches + 3;
  ASSERT_EQ(setenv("TEST_TMPDIR", (folder_.path() / "").c_str(), 1), 0);
  EXPECT_EXIT(
      {
        Killer killer(kLast);
        TrainingRun(config(folder_.path(), "killed", {"checkpoint_seconds=0.001"}), {}, killer)
            .run(kNever);
      },
      ::testing::KilledBySignal(SIGKILL), "");
  unsetenv("TEST_TMPDIR");
  fs::path inner;
  for (const std::string& name : folder_.entries()) {
    if (fs::exists(folder_ / name / "runs/killed/last.safetensors")) inner = folder_ / name;
  }
  ASSERT_FALSE(inner.empty());
  Steps again;
  const RunResult result =
      TrainingRun(config(inner, "killed"), {.resume = true}, again).run(kNever);
  EXPECT_EQ(result.end, TrainingEnd::finished);
  EXPECT_GE(again.taken, kSteps - kLast);
  EXPECT_LE(again.taken, kSteps - kBatches);
  EXPECT_EQ(step_losses(inner, "killed"), train("whole"));
}

}  // namespace
}  // namespace macadam
