// Runs whose steps have several batches, whose gradients are clipped and scaled, and whose
// parameters are averaged: what is logged, what is kept, and that resuming changes nothing.

#include <gtest/gtest.h>

#include <cmath>

#include "base/to_size.h"
#include "tests/engine/training_process.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

/// Steps of three batches: two an epoch, the second of the batch that is left.
constexpr int64_t kAccumulate = 3;
constexpr int64_t kSteps = 2;

/// Everything on, with a first layer that thaws after an epoch.
Configuration everything(OptimizerKind optimizer = OptimizerKind::adamw) {
  Configuration c;
  c.optimizer = optimizer;
  c.accumulate = kAccumulate;
  c.clip_norm = 0.5f;
  c.ema = 0.8f;
  c.loss_scaling = true;
  c.fine_tuning.freeze = {{"stem.*", 1}};
  return c;
}

std::map<std::string, std::vector<float>> values_of(const Parameters& parameters) {
  std::map<std::string, std::vector<float>> values;
  for (size_t p = 0; p < parameters.size(); ++p) {
    values[parameters.specs()[p].name] = parameters.read(p, Parameters::Field::value);
  }
  return values;
}

void expect_values(const Model& model, const std::map<std::string, std::vector<float>>& values) {
  ASSERT_EQ(model.parameters.size(), values.size());
  for (const auto& [name, tensor] : model.parameters) EXPECT_EQ(tensor.values, values.at(name));
}

TEST(TrainerStep, LogsTheMeanOfItsBatches) {
  const TemporaryFolder single, accumulated;
  Configuration c;
  c.epochs = 1;
  c.learning_rate = [](int64_t) { return 0.0f; };
  c.network = [](Shape input, int classes) { return small_unet(input, classes, 0); };
  Process(single.path(), c).trainer.run(never);
  c.accumulate = kAccumulate;
  Process process(accumulated.path(), c);
  process.trainer.run(never);
  const auto batches = log_entries(single.path(), "step");
  const auto steps = log_entries(accumulated.path(), "step");
  ASSERT_EQ(batches.size(), to_size(kBatches));
  ASSERT_EQ(steps.size(), to_size(kSteps));
  const auto loss = [&](size_t i) { return batches[i].at("loss").get<double>(); };
  EXPECT_DOUBLE_EQ(steps[0].at("loss").get<double>(), (loss(0) + loss(1) + loss(2)) / 3);
  EXPECT_DOUBLE_EQ(steps[1].at("loss").get<double>(), loss(3)) << "an epoch's last step";
  const EpochRecord row = read_results(accumulated / "results.csv").at(0);
  EXPECT_DOUBLE_EQ(row.train_loss, (loss(0) + loss(1) + loss(2) + loss(3)) / 4);
  EXPECT_EQ(row.step, kSteps);
  EXPECT_EQ(process.observer.progress.size(), to_size(kBatches));
}

TEST(TrainerStep, LearningRatesFollowTheSteps) {
  const TemporaryFolder folder;
  Configuration c = everything();
  std::vector<int64_t> asked;
  c.learning_rate = [&](int64_t step) {
    asked.push_back(step);
    return 1e-3f;
  };
  Process(folder.path(), c).trainer.run(never);
  EXPECT_EQ(*std::ranges::max_element(asked), kSteps * kEpochs - 1);
  EXPECT_EQ(load_model(folder / "last.safetensors").info.step, kSteps * kEpochs);
}

class TrainerStepResume : public ::testing::TestWithParam<OptimizerKind> {};

// A stop that is asked for in the middle of a step waits for its end.
TEST_P(TrainerStepResume, WithEverythingOnContinuesBitForBit) {
  const TemporaryFolder whole;
  Process(whole.path(), everything(GetParam())).trainer.run(never);
  for (int64_t stop = 1; stop < kEpochs * kBatches; ++stop) {
    SCOPED_TRACE(stop);
    const TemporaryFolder folder;
    Process first(folder.path(), everything(GetParam()));
    EXPECT_EQ(first.trainer.run([&] { return first.train.served() >= stop; }),
              TrainingEnd::interrupted);
    const int64_t in_epoch = stop % kBatches;
    const int64_t served = in_epoch == 0 ? stop : stop - in_epoch + kAccumulate;
    EXPECT_EQ(first.train.served(), served);
    Process second(folder.path(), everything(GetParam()));
    second.trainer.resume();
    EXPECT_EQ(second.trainer.run(never), TrainingEnd::finished);
    EXPECT_EQ(second.train.served(), kEpochs * kBatches - served) << "no step twice";
    expect_same_runs(folder.path(), whole.path());
    EXPECT_EQ(load_model(folder / "last.safetensors").info.progress.at("good_steps"),
              kSteps * kEpochs);
  }
}

INSTANTIATE_TEST_SUITE_P(Optimizers, TrainerStepResume,
                         ::testing::Values(OptimizerKind::adamw, OptimizerKind::sgd));

TEST(TrainerStep, AveragesAreValidatedAndKeptAsTheBest) {
  const TemporaryFolder folder;
  Configuration c = everything();
  Process process(folder.path(), c);
  Optimizer& optimizer = process.trainer.step().optimizer();
  std::map<std::string, std::vector<float>> best;
  double best_loss = 0;
  process.observer.after_epoch = [&](const EpochRecord& summary) {
    if (!summary.best) return;
    best = values_of(*optimizer.averages());
    best_loss = summary.val_loss;
  };
  process.trainer.run(never);
  const Model kept = load_model(folder / "best.safetensors", ModelPart::everything);
  expect_values(kept, best);
  EXPECT_TRUE(kept.optimizer.empty());
  const Model last = load_model(folder / "last.safetensors", ModelPart::everything);
  expect_values(last, values_of(process.parameters));
  for (const auto& [name, values] : values_of(*optimizer.averages())) {
    EXPECT_EQ(last.optimizer.at("ema." + name).values, values);
  }
  EXPECT_NE(values_of(process.parameters), values_of(*optimizer.averages()));

  Parameters parameters(process.val_graph.parameters(), process.context.stream, false);
  load_parameters(kept, parameters, "best.safetensors");
  EvaluatorOptions options;
  options.loss = make_loss({loss_term("ce"), loss_term("dice")});
  Evaluator evaluator(process.val_graph, parameters, process.context, options);
  process.val.start(0, 0);
  for (int64_t i = 0; i < process.val.batches(); ++i) evaluator.add(process.val.next());
  EXPECT_EQ(evaluator.mean_loss(), best_loss);
}

TEST(TrainerStep, CheckpointsSayHowOftenEachParameterWasUpdated) {
  const TemporaryFolder folder;
  Process(folder.path(), everything()).trainer.run(never);
  const Model last = load_model(folder / "last.safetensors", ModelPart::everything);
  EXPECT_EQ(last.optimizer.at("updates.stem.weight").values,
            std::vector<float>{static_cast<float>(kSteps * (kEpochs - 1))});
  EXPECT_EQ(last.optimizer.at("updates.head.weight").values,
            std::vector<float>{static_cast<float>(kSteps * kEpochs)});
  EXPECT_FALSE(last.optimizer.contains("updates.stem_norm.running_mean"));
}

/// Rewrites last.safetensors after `change` to its model.
void rewrite_checkpoint(const std::filesystem::path& folder,
                        const std::function<void(Model&)>& change) {
  Model model = load_model(folder / "last.safetensors", ModelPart::everything);
  change(model);
  std::map<std::string, ModelTensorView> parameters, optimizer;
  for (const auto& [name, t] : model.parameters) parameters[name] = {t.shape, t.values};
  for (const auto& [name, t] : model.optimizer) optimizer[name] = {t.shape, t.values};
  save_model(folder / "last.safetensors", model.info, parameters, optimizer);
}

// Without freezing, every parameter has taken all steps.
TEST(TrainerStep, ACheckpointWithoutCountsResumesTheSame) {
  const TemporaryFolder whole, folder;
  Process(whole.path()).trainer.run(never);
  Process first(folder.path());
  first.trainer.run([&] { return first.train.served() >= 5; });
  rewrite_checkpoint(folder.path(), [](Model& model) {
    std::erase_if(model.optimizer, [](const auto& t) { return t.first.starts_with("updates."); });
  });
  Process second(folder.path());
  second.trainer.resume();
  second.trainer.run(never);
  expect_same_runs(folder.path(), whole.path());
}

// As older versions wrote them: the terms' means over that epoch alone are not known.
TEST(TrainerStep, ACheckpointWithoutTheTermsOfTheLossResumesTheSame) {
  const TemporaryFolder whole, folder;
  Process(whole.path()).trainer.run(never);
  Process first(folder.path());
  first.trainer.run([&] { return first.train.served() >= kBatches + 1; });
  rewrite_checkpoint(folder.path(), [](Model& model) {
    EXPECT_EQ(std::erase_if(model.info.progress,
                            [](const auto& entry) { return entry.first.starts_with("loss_sum."); }),
              2u);
  });
  Process second(folder.path());
  second.trainer.resume();
  second.trainer.run(never);
  expect_same_models(folder.path(), whole.path());
  const std::vector<EpochRecord> rows = read_results(folder / "results.csv");
  ASSERT_EQ(rows.size(), to_size(kEpochs));
  for (size_t e = 0; e < rows.size(); ++e) {
    EXPECT_EQ(std::isnan(rows[e].terms.at(0).value), e == 1) << rows[e].terms[0].name;
    EXPECT_TRUE(std::isfinite(rows[e].terms.at(1).value)) << rows[e].terms[1].name;
  }
}

TEST(TrainerStep, ACheckpointWithoutItsStateIsRefused) {
  const std::pair<const char*, std::function<void(Model&)>> losses[] = {
      {"'ema.head.weight'", [](Model& m) { m.optimizer.erase("ema.head.weight"); }},
      {"'updates.head.weight'", [](Model& m) { m.optimizer.erase("updates.head.weight"); }},
      {"'updates.head.bias' is 7", [](Model& m) { m.optimizer["updates.head.bias"].values = {7}; }},
      {"'updates.head.bias' is -1",
       [](Model& m) { m.optimizer["updates.head.bias"].values = {-1}; }},
      {"'good_steps' is 2000", [](Model& m) { m.info.progress["good_steps"] = 2000; }},
      {"'skipped_steps' is nan", [](Model& m) { m.info.progress["skipped_steps"] = std::nan(""); }},
      {"'loss_sum.ce' is nan", [](Model& m) { m.info.progress["loss_sum.ce"] = std::nan(""); }},
      {"'loss_scale' is 0", [](Model& m) { m.info.progress["loss_scale"] = 0; }},
      {"the same accumulate", [](Model& m) { m.info.progress["batch"] = 1; }},
      {"'loss_scale'", [](Model& m) { m.info.progress.erase("loss_scale"); }}};
  for (const auto& [name, lose] : losses) {
    const TemporaryFolder folder;
    Process(folder.path(), everything()).trainer.run(never);
    rewrite_checkpoint(folder.path(), lose);
    Process again(folder.path(), everything());
    try {
      again.trainer.resume();
      ADD_FAILURE() << name;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  }
}

TEST(TrainerStep, OverflowsOfTheLossScaleAreOvercome) {
  const TemporaryFolder folder;
  Configuration c;
  c.loss_scaling = true;
  c.ce_weight = 1e4f;
  Process process(folder.path(), c);
  process.train.before_next = [&](int64_t served) {
    if (served != 1) return;
    Optimizer& optimizer = process.trainer.step().optimizer();
    OptimizerProgress progress = optimizer.progress(1);
    progress.gradient.loss_scale = 0x1p127f;
    optimizer.restore(progress, 1);
  };
  EXPECT_EQ(process.trainer.run(never), TrainingEnd::finished);
  const Model last = load_model(folder / "last.safetensors", ModelPart::everything);
  const double skipped = last.info.progress.at("skipped_steps");
  EXPECT_GT(skipped, 0);
  EXPECT_EQ(last.info.progress.at("loss_scale"), std::ldexp(1.0, 127 - static_cast<int>(skipped)));
  EXPECT_EQ(last.optimizer.at("updates.head.weight").values[0],
            static_cast<float>(kEpochs * kBatches - skipped));
}

TEST(TrainerStep, GradientsThatAreNeverFiniteStopTheRun) {
  const TemporaryFolder folder;
  Configuration c;
  c.loss_scaling = true;
  Process process(folder.path(), c);
  Optimizer& optimizer = process.trainer.step().optimizer();
  OptimizerProgress progress = optimizer.progress(0);
  progress.gradient.loss_scale = 0x1p-25f;
  optimizer.restore(progress, 0);
  try {
    process.trainer.run(never);
    ADD_FAILURE() << "the run did not fail";
  } catch (const RunError& error) {
    EXPECT_NE(std::string(error.what()).find("bf16"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "last.safetensors"));
}

}  // namespace
