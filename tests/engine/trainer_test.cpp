// Whole runs on an in-memory data set: logs, checkpoints, resumption, early stopping, failures.

#include "engine/train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/to_size.h"
#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/training_process.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

/// A network without running statistics.
Graph plain_unet(Shape input, int classes) { return small_unet(input, classes, 0.2f); }

std::string failure_of(Process& process) {
  try {
    process.trainer.run(never);
  } catch (const RunError& error) {
    return error.what();
  }
  ADD_FAILURE() << "the run did not fail";
  return {};
}

TEST(Trainer, WritesWhatHappened) {
  const TemporaryFolder folder;
  Process process(folder.path());
  EXPECT_EQ(process.trainer.run(never), TrainingEnd::finished);

  const auto steps = log_entries(folder.path(), "step");
  ASSERT_EQ(steps.size(), to_size(kEpochs * kBatches));
  double epoch_sum = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].at("step"), i);
    EXPECT_EQ(steps[i].at("epoch"), i / kBatches + 1);
    EXPECT_FLOAT_EQ(steps[i].at("lr").get<float>(), 2e-3f / static_cast<float>(1 + i));
    if (i < kBatches) epoch_sum += steps[i].at("loss").get<double>();
  }
  const std::vector<EpochRecord> rows = read_results(folder / "results.csv");
  ASSERT_EQ(rows.size(), to_size(kEpochs));
  EXPECT_DOUBLE_EQ(rows[0].train_loss, epoch_sum / kBatches);
  for (size_t e = 0; e < rows.size(); ++e) {
    EXPECT_EQ(rows[e].epoch, static_cast<int64_t>(e) + 1);
    EXPECT_EQ(rows[e].step, static_cast<int64_t>(e + 1) * kBatches);
    EXPECT_EQ(rows[e].scores.at(0).value, process.observer.epochs[e].scores.at(0).value);
    EXPECT_EQ(rows[e].val_loss, process.observer.epochs[e].val_loss);
    EXPECT_EQ(rows[e].terms, process.observer.epochs[e].terms);
    ASSERT_EQ(rows[e].terms.size(), 4u);  // of ce + dice
    EXPECT_EQ(rows[e].terms[0].name, "train_ce");
    EXPECT_EQ(rows[e].terms[3].name, "val_dice");
    EXPECT_NEAR(rows[e].terms[0].value + rows[e].terms[2].value, rows[e].train_loss, 1e-6);
    EXPECT_NEAR(rows[e].terms[1].value + rows[e].terms[3].value, rows[e].val_loss, 1e-6);
    EXPECT_GT(process.observer.epochs[e].seconds, 0);
    EXPECT_NEAR(rows[e].seconds, process.observer.epochs[e].seconds, 0.00051);
    EXPECT_GT(rows[e].images_per_second, 0);
  }
  EXPECT_EQ(process.observer.progress.size(), to_size(kEpochs * kBatches));
  EXPECT_EQ(process.observer.progress.back().batch, kBatches);
  EXPECT_EQ(process.observer.progress.back().epoch, kEpochs);
  EXPECT_DOUBLE_EQ(process.observer.progress[kBatches - 1].loss, rows[0].train_loss);
  EXPECT_EQ(process.observer.validated, 2 * kEpochs);

  const Model last = load_model(folder / "last.safetensors", ModelPart::everything);
  EXPECT_EQ(last.info.epoch, kEpochs);
  EXPECT_EQ(last.info.step, kEpochs * kBatches);
  EXPECT_EQ(last.info.class_names, (std::vector<std::string>{"a", "b", "c"}));
  for (size_t p = 0; p < process.parameters.size(); ++p) {
    EXPECT_EQ(last.parameters.at(process.parameters.specs()[p].name).values,
              process.parameters.read(p, Parameters::Field::value));
  }
}

TEST(Trainer, TheSameSeedGivesTheSameRun) {
  const TemporaryFolder a, b;
  Process first(a.path()), second(b.path());
  first.trainer.run(never);
  second.trainer.run(never);
  expect_same_runs(a.path(), b.path());
}

class TrainerResume : public ::testing::TestWithParam<std::pair<OptimizerKind, DType>> {
 protected:
  Configuration configuration() const {
    Configuration c;
    std::tie(c.optimizer, c.dtype) = GetParam();
    return c;
  }
};

TEST_P(TrainerResume, AfterAnInterruptionAtAnyStepContinuesBitForBit) {
  if (configuration().dtype == DType::bf16 && !cpu_has_bf16()) GTEST_SKIP() << "no bf16 here";
  const TemporaryFolder whole;
  Process(whole.path(), configuration()).trainer.run(never);
  for (int64_t stop = 1; stop < kEpochs * kBatches; ++stop) {
    SCOPED_TRACE(stop);
    const TemporaryFolder folder;
    Process first(folder.path(), configuration());
    EXPECT_EQ(first.trainer.run([&] { return first.train.served() >= stop; }),
              TrainingEnd::interrupted);
    EXPECT_EQ(log_entries(folder.path(), "step").size(), to_size(stop));
    Process second(folder.path(), configuration());
    second.trainer.resume();
    EXPECT_EQ(second.trainer.run(never), TrainingEnd::finished);
    EXPECT_EQ(second.train.served(), kEpochs * kBatches - stop) << "no step twice";
    expect_same_runs(folder.path(), whole.path());
    EXPECT_EQ(second.trainer.best_epoch(), load_model(folder / "best.safetensors").info.epoch);
  }
}

INSTANTIATE_TEST_SUITE_P(Optimizers, TrainerResume,
                         ::testing::Values(std::pair(OptimizerKind::adamw, DType::f32),
                                           std::pair(OptimizerKind::adamw, DType::bf16),
                                           std::pair(OptimizerKind::sgd, DType::f32)));

TEST(Trainer, AfterAnInterruptionInValidationOnlyTheValidationIsRepeated) {
  constexpr int64_t kValBatches = 2;
  const TemporaryFolder whole;
  Process(whole.path()).trainer.run(never);
  for (int64_t stop = 1; stop <= kEpochs * kValBatches; ++stop) {
    SCOPED_TRACE(stop);
    const TemporaryFolder folder;
    Process first(folder.path());
    EXPECT_EQ(first.trainer.run([&] { return first.observer.validated >= stop; }),
              TrainingEnd::interrupted);
    EXPECT_EQ(first.observer.validated, stop) << "it goes on after the request";
    const ModelInfo info = load_model(folder / "last.safetensors").info;
    EXPECT_EQ(info.epoch, stop / kValBatches) << "a validation cut short ends no epoch";
    const int64_t trained = (stop + kValBatches - 1) / kValBatches * kBatches;
    EXPECT_EQ(info.step, trained);
    Process second(folder.path());
    second.trainer.resume();
    EXPECT_EQ(second.trainer.run(never), TrainingEnd::finished);
    EXPECT_EQ(second.train.served(), kEpochs * kBatches - trained) << "no step twice";
    EXPECT_EQ(second.observer.validated, (kEpochs - info.epoch) * kValBatches);
    expect_same_runs(folder.path(), whole.path());
  }
}

// A process that dies between two checkpoints has logged steps that must be taken back.
TEST(Trainer, ResumesAfterACrash) {
  const TemporaryFolder whole;
  Process(whole.path()).trainer.run(never);
  for (const double seconds : {0.0, 1e9}) {
    for (const int64_t crash : {5, 7, 8, 11}) {
      SCOPED_TRACE(crash);
      Configuration c;
      c.checkpoint_seconds = seconds;
      const TemporaryFolder folder;
      {
        Process first(folder.path(), c);
        first.train.before_next = [&](int64_t served) {
          if (served == crash) throw RunError("the disk is gone", "sample.png", "");
        };
        EXPECT_EQ(failure_of(first), "the disk is gone: sample.png");
      }
      Process second(folder.path(), c);
      second.trainer.resume();
      EXPECT_EQ(second.trainer.run(never), TrainingEnd::finished);
      const int64_t kept = seconds == 0 ? crash : crash / kBatches * kBatches;
      EXPECT_EQ(second.train.served(), kEpochs * kBatches - kept);
      expect_same_runs(folder.path(), whole.path());
    }
  }
}

TEST(Trainer, ResumingAFinishedRunTrainsNothing) {
  const TemporaryFolder folder;
  Process(folder.path()).trainer.run(never);
  const auto before = results(folder.path());
  Process again(folder.path());
  again.trainer.resume();
  EXPECT_EQ(again.trainer.run(never), TrainingEnd::finished);
  EXPECT_EQ(again.train.served(), 0);
  EXPECT_EQ(results(folder.path()), before);
}

TEST(Trainer, ResumingNeedsACheckpointOfThisNetwork) {
  const TemporaryFolder folder;
  Process process(folder.path());
  EXPECT_THROW(process.trainer.resume(), InputError);

  Configuration other;
  other.network = plain_unet;
  Process(folder.path(), other).trainer.run(never);
  EXPECT_THROW(process.trainer.resume(), InputError);

  std::filesystem::copy_file(folder / "best.safetensors", folder / "last.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  Process same(folder.path(), other);
  EXPECT_THROW(same.trainer.resume(), InputError) << "no optimiser state";
}

TEST(Trainer, StopsEarlyWhenTheScoreStaysAway) {
  constexpr int64_t kLearning = 4;  // epochs with a learning rate
  Configuration c;
  c.epochs = 40;
  c.patience = 3;
  c.network = plain_unet;  // running statistics would still move the scores
  c.learning_rate = [](int64_t step) { return step < kLearning * kBatches ? 5e-3f : 0.0f; };
  const TemporaryFolder folder;
  Process process(folder.path(), c);
  EXPECT_EQ(process.trainer.run(never), TrainingEnd::stopped_early);
  const auto& epochs = process.observer.epochs;
  int64_t best = 0;
  double score = -1;
  for (const EpochRecord& e : epochs) {
    EXPECT_EQ(e.best, e.scores.at(0).value > score);
    if (!e.best) continue;
    best = e.epoch;
    score = e.scores.at(0).value;
  }
  EXPECT_LE(best, kLearning);
  EXPECT_EQ(static_cast<int64_t>(epochs.size()), best + c.patience);
  EXPECT_EQ(process.trainer.best_epoch(), best);
  EXPECT_EQ(process.trainer.best_score(), score);

  Process again(folder.path(), c);
  again.trainer.resume();
  EXPECT_EQ(again.trainer.run(never), TrainingEnd::stopped_early);
  EXPECT_EQ(again.train.served(), 0);
}

TEST(Trainer, KeepsTheBestEpochsWeights) {
  const TemporaryFolder folder;
  Configuration c;
  c.epochs = 6;
  c.learning_rate = [](int64_t step) { return step < 3 * kBatches ? 2e-3f : 0.5f; };  // ruinous
  Process process(folder.path(), c);
  std::vector<std::vector<float>> best;
  process.observer.after_epoch = [&](const EpochRecord& summary) {
    if (!summary.best) return;
    best.clear();
    for (size_t p = 0; p < process.parameters.size(); ++p) {
      best.push_back(process.parameters.read(p, Parameters::Field::value));
    }
  };
  process.trainer.run(never);
  const Model model = load_model(folder / "best.safetensors", ModelPart::everything);
  EXPECT_LT(process.trainer.best_epoch(), c.epochs) << "the test needs a worse last epoch";
  EXPECT_EQ(model.info.epoch, process.trainer.best_epoch());
  EXPECT_EQ(model.info.metrics.at("miou_present"), process.trainer.best_score());
  EXPECT_TRUE(model.optimizer.empty());
  ASSERT_EQ(model.parameters.size(), best.size());
  for (size_t p = 0; p < best.size(); ++p) {
    EXPECT_EQ(model.parameters.at(process.parameters.specs()[p].name).values, best[p]);
  }
}

TEST(Trainer, RefusesToResumeWithAnotherNumberOfBatches) {
  const TemporaryFolder folder;
  {
    Process process(folder.path());
    process.trainer.run(never);
  }
  Configuration fewer;
  fewer.samples = kTrainSamples - 2;
  Process process(folder.path(), fewer);
  EXPECT_THROW(process.trainer.resume(), InputError);
}

/// Ruins a parameter before step `at` of the second epoch; expects the run to fail with `message`
/// in one line, with the first epoch's checkpoint untouched.
void expect_clean_failure(const std::string& parameter, float value, int64_t at,
                          const std::string& message) {
  SCOPED_TRACE(parameter + " at step " + std::to_string(at));
  const TemporaryFolder folder;
  Process process(folder.path());
  process.train.before_next = [&](int64_t served) {
    if (served != at) return;
    for (size_t p = 0; p < process.parameters.size(); ++p) {
      if (process.parameters.specs()[p].name != parameter) continue;
      std::vector<float> values = process.parameters.read(p, Parameters::Field::value);
      values[0] = value;
      process.parameters.write(p, Parameters::Field::value, values);
    }
    process.trainer.step().pack_weights();
  };
  const std::string failure = failure_of(process);
  EXPECT_NE(failure.find(message), std::string::npos) << failure << "\nwithout " << message;
  EXPECT_EQ(failure.find('\n'), std::string::npos) << failure;
  const Model last = load_model(folder / "last.safetensors", ModelPart::everything);
  EXPECT_EQ(last.info.epoch, 1);
  EXPECT_EQ(last.info.step, kBatches);
  for (const auto& [name, tensor] : last.parameters) {
    for (float v : tensor.values) ASSERT_TRUE(std::isfinite(v)) << name;
  }
  Process again(folder.path());
  again.trainer.resume();
  EXPECT_EQ(again.trainer.run(never), TrainingEnd::finished);
}

// The loss lands a step late, when the next batch is there already.
TEST(Trainer, ALossThatIsNotFiniteNamesStepAndSamples) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  MemorySource order(kTrainSamples, kTrainInput, kClasses, 1);
  order.start(1, 0);
  for (int64_t at = kBatches; at < 2 * kBatches; ++at) {
    std::string names;
    for (int sample : order.next().samples) {
      if (sample < 0) continue;
      names += (names.empty() ? "" : ", ") + order.sample_name(sample);
    }
    expect_clean_failure("head.bias", at % 2 == 0 ? infinity : nan, at,
                         "at step " + std::to_string(at) + ": " + names + ": lower lr");
  }
}

TEST(Trainer, AWeightThatIsNotFiniteIsNeverSaved) {
  for (const char* parameter : {"stem.weight", "stem_norm.running_var", "block1.conv1.bias"}) {
    expect_clean_failure(parameter, std::numeric_limits<float>::quiet_NaN(), kBatches, "step");
  }
}

TEST(Trainer, AnAbsurdLearningRateFailsCleanly) {
  const TemporaryFolder folder;
  Configuration c;
  c.network = plain_unet;
  c.optimizer = OptimizerKind::sgd;
  c.learning_rate = [](int64_t step) { return step < kBatches ? 1e-3f : 1e30f; };
  Process process(folder.path(), c);
  const std::string failure = failure_of(process);
  EXPECT_NE(failure.find("lower lr"), std::string::npos) << failure;
  EXPECT_EQ(load_model(folder / "last.safetensors", ModelPart::everything).info.epoch, 1);
}

// The padded batch has sample indices of -1, which name nothing.
TEST(Trainer, AFailureInAPaddedBatchNamesItsSamples) {
  const TemporaryFolder folder;
  Configuration c;
  c.network = plain_unet;
  c.optimizer = OptimizerKind::sgd;
  c.learning_rate = [](int64_t step) { return step == kBatches - 2 ? 1e38f : 0.0f; };
  Process process(folder.path(), c);
  const std::string failure = failure_of(process);
  EXPECT_NE(failure.find("step 3: sample"), std::string::npos) << failure;
}

// No class can be scored: the first model is kept, and nothing ever beats it.
TEST(Trainer, ValidationWithoutLabelsStopsEarlyAndResumes) {
  const TemporaryFolder folder;
  Configuration c;
  c.epochs = 9;
  c.patience = 2;
  Process process(folder.path(), c);
  process.val.unlabeled = true;
  EXPECT_EQ(process.trainer.run([&] { return process.train.served() >= kBatches + 1; }),
            TrainingEnd::interrupted);
  Process again(folder.path(), c);
  again.val.unlabeled = true;
  again.trainer.resume();
  EXPECT_EQ(again.trainer.run(never), TrainingEnd::stopped_early);
  const std::vector<EpochRecord> rows = read_results(folder / "results.csv");
  ASSERT_EQ(rows.size(), 3u);
  for (const EpochRecord& row : rows) {
    EXPECT_TRUE(std::isnan(row.scores.at(0).value));
    EXPECT_TRUE(std::isnan(row.val_loss));
    EXPECT_TRUE(std::isfinite(row.train_loss));
  }
  EXPECT_EQ(load_model(folder / "best.safetensors").info.epoch, 1);
}

TEST(Trainer, ABatchWithoutLabelsTrainsNothing) {
  const TemporaryFolder folder;
  Configuration c;
  c.network = plain_unet;
  Process process(folder.path(), c);
  process.train.unlabeled = true;
  EXPECT_EQ(process.trainer.run(never), TrainingEnd::finished);
  for (const auto& step : log_entries(folder.path(), "step")) EXPECT_EQ(step.at("loss"), 0.0);
}

}  // namespace
