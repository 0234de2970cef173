// Training called as a function, without a command line.

#include "run/training_run.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "base/to_size.h"
#include "tests/base/temporary_folder.h"
#include "tests/run/small_run.h"

namespace macadam {
namespace {

using testing::TemporaryFolder;

class Recorder final : public RunObserver {
 public:
  void on_notice(const std::string& line) override { notices.push_back(line); }
  void on_progress(std::string_view work, int64_t done, int64_t total) override {
    if (done == total) works.emplace_back(work);
  }
  void on_epoch(const EpochRecord& record) override { epochs.push_back(record); }

  std::vector<std::string> notices, works;
  std::vector<EpochRecord> epochs;
};

const auto kNever = [] { return false; };

class TrainingRuns : public ::testing::Test {
 protected:
  TrainingRuns() { testing::write_small_streets(folder_.path(), 6); }

  Config config(const std::string& name, const std::string& more = "",
                const std::vector<std::string>& overrides = {}) const {
    return testing::small_run(folder_.path(), name, more, overrides);
  }
  std::filesystem::path file(const std::string& run, const std::string& name) const {
    return folder_.path() / "runs" / run / name;
  }
  std::string text(const std::string& run, const std::string& name) const {
    return read_file(file(run, name), size_t{1} << 24);
  }
  /// The pictures of samples by their paths in samples/.
  std::map<std::string, std::string> samples(const std::string& run) const {
    std::map<std::string, std::string> bytes;
    const std::filesystem::path folder = file(run, "samples");
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (!entry.is_regular_file()) continue;
      const std::string name = std::filesystem::relative(entry.path(), folder).string();
      bytes[name] = text(run, "samples/" + name);
    }
    return bytes;
  }

  TemporaryFolder folder_;
};

TEST_F(TrainingRuns, ReturnWhatTheyFoundAndWriteItDown) {
  Recorder recorder;
  TrainingRun run(config("first"), {}, recorder);
  const RunResult result = run.run(kNever);
  EXPECT_EQ(result.end, TrainingEnd::finished);
  ASSERT_EQ(recorder.epochs.size(), 3u);
  ASSERT_GT(result.best_epoch, 0);
  EXPECT_EQ(result.best_score,
            recorder.epochs[to_size(result.best_epoch - 1)].scores.front().value);
  EXPECT_FALSE(result.test);
  EXPECT_TRUE(recorder.works.empty()) << "the report scores nothing again";
  ASSERT_EQ(recorder.notices.size(), 1u);
  EXPECT_TRUE(recorder.notices[0].find("6 training and 4 validation images") != std::string::npos);
  const auto pictures = samples("first");
  for (const std::string part : {"photo", "truth", "0001", "0002", "0003"}) {
    const auto found = std::ranges::count_if(pictures, [&](const auto& picture) {
      return picture.first.starts_with("epochs/") && picture.first.ends_with("/" + part + ".png");
    });
    EXPECT_GE(found, 2) << part;
  }
  const auto scores = nlohmann::json::parse(text("first", "scores.json"));
  EXPECT_EQ(scores.at("miou_present"), result.best_score);
  EXPECT_EQ(scores.at("epoch"), result.best_epoch);
  EXPECT_EQ(scores.at("classes").size(), 8u);
  EXPECT_NE(
      text("first", "report.html")
          .find(fmt::format("<th scope=\"row\">Best epoch</th><td>{}</td>", result.best_epoch)),
      std::string::npos);
  EXPECT_EQ(run.config().label_set, "categories8") << "decided by the data set";
}

// What training alone has is in its loss and its log, and in no prediction.
TEST_F(TrainingRuns, AnAuxiliaryHeadIsTrainedAndFollowed) {
  Recorder recorder;
  const RunResult result =
      TrainingRun(config("headed", "average_best = 2\n", {"network.auxiliary=0.4"}), {}, recorder)
          .run(kNever);
  EXPECT_EQ(result.end, TrainingEnd::finished);
  for (const EpochRecord& epoch : recorder.epochs) {
    const auto found = std::ranges::find(epoch.terms, "train_auxiliary", &Score::name);
    ASSERT_NE(found, epoch.terms.end());
    EXPECT_GT(found->value, 0);
    double terms = 0;
    for (const Score& term : epoch.terms) {
      if (term.name.starts_with("train_")) terms += term.value;
    }
    EXPECT_NEAR(terms, epoch.train_loss, 1e-5) << "ce + dice, and the head's";
  }
  EXPECT_TRUE(std::filesystem::exists(file("headed", "average.safetensors")));
  EXPECT_NE(text("headed", "events.out.tfevents.macadam").find("loss/train_auxiliary"),
            std::string::npos);
}

TEST_F(TrainingRuns, AReportAfterAnInterruptionIsThatOfAWholeRun) {
  Recorder recorder;
  TrainingRun(config("whole", "early_stopping.patience = 2\n"), {}, recorder).run(kNever);
  for (size_t after = 1; after <= 3; ++after) {
    SCOPED_TRACE(after);
    const std::string name = fmt::format("stopped_{}", after);
    const Config again = config(name, "early_stopping.patience = 2\n");
    Recorder first;
    RunResult result =
        TrainingRun(again, {}, first).run([&] { return first.epochs.size() >= after; });
    EXPECT_EQ(result.end, TrainingEnd::interrupted);
    EXPECT_FALSE(std::filesystem::exists(file(name, "report.html")));
    Recorder second;
    result = TrainingRun(again, {.resume = true}, second).run(kNever);
    EXPECT_EQ(result.end, TrainingEnd::finished);
    const bool before = result.best_epoch <= static_cast<int64_t>(after);
    EXPECT_EQ(second.works, before ? std::vector<std::string>{"scoring the best epoch"}
                                   : std::vector<std::string>{});
    EXPECT_EQ(text(name, "confusion.svg"), text("whole", "confusion.svg"));
    EXPECT_EQ(samples(name), samples("whole"));
  }
}

TEST_F(TrainingRuns, ClassWeightsByARuleAreSaidAndKept) {
  const auto weights = [&](const std::string& name) {
    return nlohmann::json::parse(text(name, "data.json")).at("class_weights");
  };
  const Config balanced = config("balanced", "class_weights = \"balanced\"\n");
  Recorder first;
  EXPECT_EQ(TrainingRun(balanced, {}, first).run([&] { return first.epochs.size() == 1; }).end,
            TrainingEnd::interrupted);
  EXPECT_EQ(std::ranges::count(first.works, "counting classes"), 1);
  const auto said = std::ranges::find_if(first.notices, [](const std::string& line) {
    return line.starts_with("class weights by balanced: void ");
  });
  EXPECT_NE(said, first.notices.end());
  const nlohmann::json begun = weights("balanced");
  ASSERT_EQ(begun.size(), 8u);

  // What the data set has become since does not matter.
  nlohmann::json data = nlohmann::json::parse(text("balanced", "data.json"));
  data["class_weights"][1] = 0.125;
  write_file_atomically(file("balanced", "data.json"), data.dump());
  Recorder second;
  EXPECT_EQ(TrainingRun(balanced, {.resume = true}, second).run(kNever).end, TrainingEnd::finished);
  EXPECT_EQ(std::ranges::count(second.works, "counting classes"), 0);
  EXPECT_EQ(weights("balanced"), data["class_weights"]);
  EXPECT_NE(text("balanced", "report.html").find("# class_weights came to ["), std::string::npos);

  data["class_weights"].erase(0);
  write_file_atomically(file("balanced", "data.json"), data.dump());
  EXPECT_THROW(TrainingRun(balanced, {.resume = true}, second), InputError);

  Recorder given;
  nlohmann::json list = begun;
  TrainingRun(config("given", "class_weights = " + list.dump() + "\n"), {}, given).run(kNever);
  Recorder again;
  TrainingRun(config("again", "class_weights = \"balanced\"\n"), {}, again).run(kNever);
  ASSERT_EQ(given.epochs.size(), again.epochs.size());
  EXPECT_EQ(given.epochs[1].train_loss, again.epochs[1].train_loss) << "the rule's numbers count";
}

TEST_F(TrainingRuns, AClassThatNeverOccursWeighsNothing) {
  Recorder recorder;
  TrainingRun run(config("rare", "label_set = \"trainids19\"\nclass_weights = \"enet\"\n"), {},
                  recorder);
  const auto weights = nlohmann::json::parse(text("rare", "data.json"))
                           .at("class_weights")
                           .get<std::vector<double>>();
  const auto absent = std::ranges::count(weights, 0.0);
  EXPECT_GT(absent, 0);
  EXPECT_LT(absent, 18);
  EXPECT_EQ(std::ranges::count_if(recorder.notices,
                                  [](const std::string& line) {
                                    return line.find("has no pixel in the training masks") !=
                                           std::string::npos;
                                  }),
            absent);
}

TEST_F(TrainingRuns, WeightsOfCityscapesAreForItsClasses) {
  Recorder recorder;
  const std::string fixed = "class_weights = \"cityscapes\"\n";
  EXPECT_THROW(TrainingRun(config("refused", fixed), {}, recorder), InputError);
  TrainingRun run(config("nineteen", "label_set = \"trainids19\"\n" + fixed), {}, recorder);
  EXPECT_TRUE(recorder.works.empty()) << "nothing is counted for them";
  const auto weights = nlohmann::json::parse(text("nineteen", "data.json")).at("class_weights");
  EXPECT_EQ(weights.at(18), 1.0507);
}

// Whoever follows it is told that it is over.
TEST_F(TrainingRuns, AFailureIsToldToTheTrackers) {
  Recorder recorder;
  TrainingRun run(config("failed",
                         "optimizer = \"sgd\"\nlr = 100\nwarmup = 0\nschedule = \"constant\"\n"
                         "recoveries = 0\n",
                         {}),
                  {}, recorder);
  EXPECT_THROW(run.run(kNever), RunError);
  EXPECT_NE(text("failed", "events.out.tfevents.macadam").find("session_end_info"),
            std::string::npos);
}

TEST_F(TrainingRuns, AProfileLeavesNoFolder) {
  Recorder recorder;
  TrainingRun run(config("profiled"), {.profile = true}, recorder);
  const StepProfile profile = run.profile(2);
  EXPECT_EQ(profile.steps, 2);
  EXPECT_GT(profile.calls.size(), 20u);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "runs"));
}

TEST_F(TrainingRuns, RefuseBeforeTheyWrite) {
  Recorder recorder;
  EXPECT_THROW(TrainingRun(config("refused", "class_weights = [1, 2]\n"), {}, recorder),
               InputError);
  EXPECT_THROW(TrainingRun(config("refused", "region_weights = true\n"), {}, recorder), InputError);
  EXPECT_THROW(TrainingRun(config("refused", "accumulate = 4\n"), {}, recorder), InputError);
  EXPECT_THROW(TrainingRun(config("refused"), {.resume = true}, recorder), InputError);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "runs"));
}

}  // namespace
}  // namespace macadam
