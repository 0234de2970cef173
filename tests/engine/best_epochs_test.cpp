// Which models a run keeps, the average of the best, and going back after a loss that is not
// finite.

#include "engine/train/best_epochs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/to_size.h"
#include "tests/engine/training_process.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

namespace fs = std::filesystem;

std::vector<std::string> models_in(const TemporaryFolder& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder / "models")) {
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

/// The `count` epochs of the highest mean IoU, the earlier of equals, in ascending order.
std::vector<int64_t> best_of(const std::vector<EpochRecord>& epochs, size_t count) {
  std::vector<EpochRecord> order = epochs;
  std::ranges::stable_sort(order, std::greater(),
                           [](const EpochRecord& e) { return e.scores.at(0).value; });
  std::vector<int64_t> best;
  for (size_t i = 0; i < count; ++i) best.push_back(order[i].epoch);
  std::ranges::sort(best);
  return best;
}

std::string file_of(int64_t epoch) {
  return "models/best_000" + std::to_string(epoch) + ".safetensors";
}

TEST(BestEpochs, TheirAverageIsTheMeanOfTheirParameters) {
  const TemporaryFolder folder;
  Configuration c;
  c.epochs = 6;
  c.average = 3;
  c.learning_rate = [](int64_t) { return 1e-2f; };
  Process process(folder.path(), c);
  EXPECT_EQ(process.trainer.run(never), TrainingEnd::finished);
  const std::vector<int64_t> best = best_of(process.observer.epochs, 3);
  ASSERT_TRUE(process.observer.average.has_value());
  EXPECT_EQ(process.observer.average->epochs, best);
  EXPECT_EQ(models_in(folder).size(), 3u);

  const Model average = load_model(folder / "average.safetensors", ModelPart::everything);
  EXPECT_TRUE(average.optimizer.empty());
  EXPECT_EQ(average.info.metrics.at("miou_present"), process.observer.average->scores.at(0).value);
  EXPECT_EQ(average.info.metrics.at("val_loss"), process.observer.average->val_loss);
  for (const auto& [name, tensor] : average.parameters) {
    std::vector<double> sum(tensor.values.size());
    for (const int64_t epoch : best) {
      const Model model = load_model(folder / file_of(epoch));
      for (size_t i = 0; i < sum.size(); ++i) {
        sum[i] += static_cast<double>(model.parameters.at(name).values[i]);
      }
    }
    for (size_t i = 0; i < sum.size(); ++i) {
      ASSERT_FLOAT_EQ(tensor.values[i], static_cast<float>(sum[i] / 3)) << name;
    }
  }
}

// Also when the process dies behind a model that the checkpoint does not know of yet.
TEST(BestEpochs, AreTheSameAfterAnInterruptionAtAnyStep) {
  Configuration c;
  c.epochs = 4;
  c.average = 2;
  c.keep_every = 2;
  c.learning_rate = [](int64_t) { return 1e-2f; };
  const TemporaryFolder whole;
  Process(whole.path(), c).trainer.run(never);
  EXPECT_EQ(models_in(whole).size(), 4u);  // two of the best, two of every second
  for (int64_t stop = 1; stop < c.epochs * kBatches; ++stop) {
    for (const bool crash : {false, true}) {
      SCOPED_TRACE(std::to_string(stop) + (crash ? ", crashed" : ", stopped"));
      const TemporaryFolder folder;
      Process first(folder.path(), c);
      if (crash) {
        first.train.before_next = [&](int64_t served) {
          if (served == stop) throw RunError("the disk is gone", "sample.png", "");
        };
        EXPECT_THROW(first.trainer.run(never), RunError);
        fs::copy_file(whole / "best.safetensors", folder / file_of(9));
      } else {
        first.trainer.run([&] { return first.train.served() >= stop; });
      }
      Process second(folder.path(), c);
      second.trainer.resume();
      EXPECT_EQ(second.trainer.run(never), TrainingEnd::finished);
      expect_same_runs(folder.path(), whole.path());
      EXPECT_EQ(models_in(folder), models_in(whole));
      EXPECT_EQ(load_model(folder / "average.safetensors").parameters,
                load_model(whole / "average.safetensors").parameters);
    }
  }
}

TEST(Trainer, KeepsTheModelOfEveryNthEpoch) {
  const TemporaryFolder folder;
  Configuration c;
  c.epochs = 5;
  c.keep_every = 2;
  Process process(folder.path(), c);
  std::vector<float> second;
  process.observer.after_epoch = [&](const EpochRecord& record) {
    if (record.epoch == 2) second = process.parameters.read(0, Parameters::Field::value);
  };
  process.trainer.run(never);
  EXPECT_EQ(models_in(folder),
            (std::vector<std::string>{"epoch_0002.safetensors", "epoch_0004.safetensors"}));
  const Model model = load_model(folder / "models/epoch_0002.safetensors");
  EXPECT_EQ(model.info.epoch, 2);
  EXPECT_EQ(model.parameters.at(process.parameters.specs()[0].name).values, second);
  EXPECT_FALSE(fs::exists(folder / "average.safetensors"));
}

TEST(Trainer, TheBestIsWhatIsAskedFor) {
  for (const BestBy by : {BestBy::miou, BestBy::mdice, BestBy::pixel_accuracy, BestBy::val_loss}) {
    SCOPED_TRACE(std::string(name_of(by)));
    const TemporaryFolder folder;
    Configuration c;
    c.epochs = 6;
    c.best_by = by;
    c.learning_rate = [](int64_t step) { return step < 3 * kBatches ? 5e-3f : 0.3f; };
    Process process(folder.path(), c);
    process.trainer.run(never);
    int64_t best = 0;
    double merit = 0;
    for (const EpochRecord& e : process.observer.epochs) {
      const double of =
          by == BestBy::val_loss ? -e.val_loss : e.scores.at(static_cast<size_t>(by)).value;
      if (best > 0 && !(of > merit)) continue;
      best = e.epoch;
      merit = of;
    }
    EXPECT_EQ(process.trainer.best_epoch(), best);
    EXPECT_EQ(load_model(folder / "best.safetensors").info.epoch, best);
    EXPECT_EQ(process.trainer.best_score(),
              process.observer.epochs.at(to_size(best - 1)).scores.at(0).value);
  }
}

// Epochs that are better, but not by enough, are kept as the best and are no reason to go on.
TEST(Trainer, PatienceWaitsForMinDelta) {
  Configuration c;
  c.epochs = 30;
  c.patience = 2;
  c.min_delta = 2;  // more than a mean IoU can rise
  const TemporaryFolder folder;
  Process process(folder.path(), c);
  EXPECT_EQ(process.trainer.run(never), TrainingEnd::stopped_early);
  EXPECT_EQ(process.observer.epochs.size(), 3u);
  Process again(folder.path(), c);
  again.trainer.resume();
  EXPECT_EQ(again.trainer.run(never), TrainingEnd::stopped_early);
  EXPECT_EQ(again.train.served(), 0);
}

/// Makes a value of a parameter not a number.
void ruin(Process& process, const std::string& parameter) {
  const auto& specs = process.parameters.specs();
  const auto p = to_size(std::ranges::find(specs, parameter, &ParameterSpec::name) - specs.begin());
  std::vector<float> values = process.parameters.read(p, Parameters::Field::value);
  values.at(0) = std::numeric_limits<float>::quiet_NaN();
  process.parameters.write(p, Parameters::Field::value, values);
  process.trainer.step().pack_weights();
}

/// The same before a step, once.
void ruin_once(Process& process, int64_t at) {
  process.train.before_next = [&process, at, done = false](int64_t served) mutable {
    if (served != at || done) return;
    done = true;
    ruin(process, "head.bias");
  };
}

TEST(Trainer, GoesBackToItsLastCheckpointWithHalfTheLearningRate) {
  Configuration c;
  c.recoveries = 1;
  for (const int64_t at : {1, kBatches + 2}) {
    SCOPED_TRACE(at);
    const TemporaryFolder folder;
    Process process(folder.path(), c);
    ruin_once(process, at);
    EXPECT_EQ(process.trainer.run(never), TrainingEnd::finished);
    const int64_t from = at / kBatches * kBatches;
    ASSERT_EQ(process.observer.recoveries.size(), 1u);
    EXPECT_EQ(process.observer.recoveries[0].step, from);
    EXPECT_NE(process.observer.recoveries[0].reason.find("the loss became nan at step"),
              std::string::npos)
        << process.observer.recoveries[0].reason;
    const auto steps = log_entries(folder.path(), "step");
    ASSERT_EQ(steps.size(), to_size(kEpochs * kBatches));
    for (size_t i = 0; i < steps.size(); ++i) {
      const float lr = c.learning_rate(static_cast<int64_t>(i));
      EXPECT_EQ(steps[i].at("step"), i);
      EXPECT_FLOAT_EQ(steps[i].at("lr").get<float>(), static_cast<int64_t>(i) < from ? lr : lr / 2);
    }
    const auto logged = log_entries(folder.path(), "recovery");
    ASSERT_EQ(logged.size(), 1u);
    EXPECT_EQ(logged[0].at("step"), from);

    // The halved rate is part of the run.
    const TemporaryFolder stopped;
    Process first(stopped.path(), c);
    ruin_once(first, at);
    EXPECT_EQ(first.trainer.run([&] { return first.train.served() >= 2 * kBatches + 3; }),
              TrainingEnd::interrupted);
    Process second(stopped.path(), c);
    second.trainer.resume();
    EXPECT_EQ(second.trainer.run(never), TrainingEnd::finished);
    expect_same_runs(stopped.path(), folder.path());
  }
}

TEST(Trainer, RecoveriesAreCounted) {
  Configuration c;
  c.recoveries = 2;
  const TemporaryFolder folder;
  Process process(folder.path(), c);
  process.train.before_next = [&](int64_t served) {
    if (served >= 2) ruin(process, "stem.weight");
  };
  EXPECT_THROW(process.trainer.run(never), RunError);
  EXPECT_EQ(process.observer.recoveries.size(), 2u);
}

}  // namespace
