// A run with a teacher: what it writes, and which teachers are refused.

#include "run/teacher.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/to_size.h"
#include "run/auto_batch.h"
#include "run/training_run.h"
#include "tests/base/temporary_folder.h"
#include "tests/run/small_run.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

const auto kNever = [] { return false; };

class Recorder final : public RunObserver {
 public:
  void on_notice(const std::string& line) override { notices.push_back(line); }
  void on_epoch(const EpochRecord& record) override { epochs.push_back(record); }

  std::vector<std::string> notices;
  std::vector<EpochRecord> epochs;
};

double term_of(const EpochRecord& record, std::string_view name) {
  const auto found = std::ranges::find(record.terms, name, &Score::name);
  return found == record.terms.end() ? -1 : found->value;
}

class TaughtRun : public ::testing::Test {
 protected:
  TaughtRun() { testing::write_small_streets(folder_.path(), 6); }

  std::vector<EpochRecord> train(const std::string& name,
                                 const std::vector<std::string>& overrides = {}) {
    Recorder recorder;
    TrainingRun(testing::small_run(folder_.path(), name, "", overrides), {}, recorder).run(kNever);
    return recorder.epochs;
  }
  fs::path model(const std::string& run) const {
    return folder_.path() / "runs" / run / "best.safetensors";
  }
  std::string teacher(const std::string& run) const { return "teacher=" + model(run).string(); }
  /// What a run says that is refused, and leaves no folder.
  std::string complaint(const std::vector<std::string>& overrides) {
    Recorder recorder;
    try {
      TrainingRun(testing::small_run(folder_.path(), "refused", "", overrides), {}, recorder);
    } catch (const InputError& error) {
      EXPECT_FALSE(fs::exists(folder_.path() / "runs/refused"));
      return error.what();
    }
    return "accepted";
  }
  void expect_complaint(const std::vector<std::string>& overrides,
                        const std::vector<std::string>& parts) {
    const std::string message = complaint(overrides);
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    for (const std::string& part : parts) {
      EXPECT_NE(message.find(part), std::string::npos) << message;
    }
  }

  TemporaryFolder folder_;
};

TEST_F(TaughtRun, LearnsFromItsTeacherAndSaysHowMuch) {
  train("big", {"network=unet", "size=[64, 128]", "epochs=2", "network.auxiliary=0.4",
                "normalization={mean=[100, 100, 100], std=[60, 50, 40], range=255}"});
  Recorder recorder;
  TrainingRun run(testing::small_run(folder_.path(), "taught", "",
                                     {teacher("big"), "epochs=6", "network.auxiliary=0.4"}),
                  {}, recorder);
  run.run(kNever);
  const auto said = std::ranges::find_if(recorder.notices, [](const std::string& line) {
    return line.starts_with("taught by unet ");
  });
  EXPECT_NE(said, recorder.notices.end());
  ASSERT_EQ(recorder.epochs.size(), 6u);
  for (const EpochRecord& epoch : recorder.epochs) {
    EXPECT_GT(term_of(epoch, "train_teacher"), 0);
    double terms = 0;
    for (const Score& term : epoch.terms) {
      if (term.name.starts_with("train_")) terms += term.value;
    }
    EXPECT_NEAR(terms, epoch.train_loss, 1e-5) << "ce + dice, the head's and the teacher's";
    EXPECT_EQ(term_of(epoch, "val_teacher"), -1) << "training alone is taught";
  }
  EXPECT_LT(recorder.epochs.back().train_loss, recorder.epochs.front().train_loss);
  EXPECT_LT(term_of(recorder.epochs.back(), "train_teacher"),
            term_of(recorder.epochs.front(), "train_teacher"));
  const fs::path folder = folder_.path() / "runs/taught";
  const std::string results = read_file(folder / "results.csv", size_t{1} << 20);
  EXPECT_NE(results.find(",train_auxiliary,train_teacher,"), std::string::npos) << results;
  EXPECT_NE(
      read_file(folder / "events.out.tfevents.macadam", size_t{1} << 24).find("loss/train_teacher"),
      std::string::npos);
}

TEST_F(TaughtRun, WeighsItsTeacher) {
  train("big");
  const std::vector<EpochRecord> three = train("three", {teacher("big"), "epochs=1", "lr=1e-12"});
  const std::vector<EpochRecord> six =
      train("six", {teacher("big"), "epochs=1", "lr=1e-12", "teacher_weight=6"});
  EXPECT_NEAR(term_of(six[0], "train_teacher"), 2 * term_of(three[0], "train_teacher"),
              1e-5 * term_of(six[0], "train_teacher"));
  EXPECT_EQ(term_of(six[0], "train_ce"), term_of(three[0], "train_ce"));
}

TEST_F(TaughtRun, CountsItsTeacherInTheBatchThatFits) {
  train("big", {"epochs=1"});
  const Config config =
      testing::small_run(folder_.path(), "auto", "", {teacher("big"), "size=[128, 256]"});
  const Model model = load_model(config.teacher);
  const auto mebibytes = [&](const ModelInfo* taught_by) {
    Recorder recorder;
    EXPECT_EQ(choose_batch(config, 8, taught_by, 16, Device{}, DType::f32, recorder), 2);
    const std::string line = recorder.notices.at(0);
    return std::stoi(line.substr(line.find(": ") + 2));
  };
  EXPECT_GT(mebibytes(&model.info), mebibytes(nullptr) + 5);
}

TEST_F(TaughtRun, IsProfiled) {
  train("big");
  Recorder recorder;
  TrainingRun run(testing::small_run(folder_.path(), "profiled", "", {teacher("big")}),
                  {.profile = true}, recorder);
  const StepProfile profile = run.profile(2);
  EXPECT_GT(std::ranges::count(profile.calls, "teacher",
                               [](const ProfiledCall& call) { return call.step.pass; }),
            10);
}

TEST_F(TaughtRun, RefusesTeachersThatDoNotFit) {
  train("big");
  train("nineteen", {"label_set=trainids19"});
  train("seven", {"void=ignore"});
  expect_complaint(
      {teacher("nineteen")},
      {"the 19 classes of label set 'trainids19'", "the 8 of 'categories8'",
       "class 0 is 'road' there", "'void' here", "nineteen/best.safetensors", "label_set"});
  expect_complaint({teacher("seven")}, {"the 7 classes", "the 8 of", "void"});
  expect_complaint({teacher("big"), "label_set=trainids19"}, {"the 8 classes", "the 19 of"});
  train("deep", {"network=unet", "epochs=1"});
  expect_complaint({teacher("deep"), "size=[32, 56]"},
                   {"the teacher cannot see the run's images", "32x56", "multiples of 16"});
  const fs::path text = folder_.path() / "text.safetensors";
  write_file_atomically(text, "this is no model");
  expect_complaint({"teacher=" + text.string()}, {"text.safetensors"});
  expect_complaint({"teacher=" + (folder_.path() / "none.safetensors").string()},
                   {"none.safetensors"});
  expect_complaint({"teacher=" + folder_.path().string()}, {folder_.path().string()});
  std::string cut = read_file(model("big"), size_t{1} << 26);
  cut.resize(cut.size() / 2);
  write_file_atomically(text, cut);
  expect_complaint({"teacher=" + text.string()}, {"text.safetensors"});
}

}  // namespace
}  // namespace macadam
