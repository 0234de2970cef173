#pragma once
// One process of a training run on an in-memory data set, and what it leaves in the run's folder.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/train/trainer.h"
#include "tests/base/temporary_folder.h"
#include "tests/engine/memory_source.h"
#include "tests/engine/small_networks.h"

namespace macadam::testing {

inline constexpr Shape kTrainInput{2, 8, 12, 3}, kValInput{3, 8, 12, 3};
inline constexpr int kClasses = 3;
inline constexpr int kTrainSamples = 7;  // 4 batches, the last one padded
inline constexpr int kBatches = 4;
inline constexpr int64_t kEpochs = 3;

inline const auto never = [] { return false; };

struct Configuration {
  int64_t epochs = kEpochs;
  int64_t patience = 0;
  double checkpoint_seconds = 1e9;
  Graph (*network)(Shape input, int classes) = small_resnet;
  int samples = kTrainSamples;
  OptimizerKind optimizer = OptimizerKind::adamw;
  DType dtype = DType::f32;
  FineTuning fine_tuning;
  int64_t accumulate = 1;
  float clip_norm = 0, ema = 0;
  bool loss_scaling = false;
  float ce_weight = 1;
  BestBy best_by = BestBy::miou;
  double min_delta = 0;
  int64_t average = 0, keep_every = 0, recoveries = 0;
  std::function<float(int64_t)> learning_rate = [](int64_t step) {
    return 2e-3f / static_cast<float>(1 + step);
  };
};

class Recorder final : public TrainingObserver {
 public:
  void on_step(const Progress& p) override { progress.push_back(p); }
  void on_validation(int64_t batch, int64_t batches) override {
    EXPECT_LE(batch, batches);
    ++validated;
  }
  void on_epoch(const EpochRecord& summary) override {
    epochs.push_back(summary);
    if (after_epoch) after_epoch(summary);
  }
  void on_phase(const Phase& phase) override { phases.push_back(phase); }
  void on_recovery(const Recovery& recovery) override { recoveries.push_back(recovery); }
  void on_average(const Average& of) override { average = of; }

  std::vector<Progress> progress;
  std::vector<EpochRecord> epochs;
  std::vector<Phase> phases;
  std::vector<Recovery> recoveries;
  std::optional<Average> average;
  int validated = 0;
  std::function<void(const EpochRecord&)> after_epoch;
};

/// Everything one process would make for a run in `folder`.
class Process {
 public:
  explicit Process(const std::filesystem::path& folder, const Configuration& configuration = {})
      : train_graph(configuration.network(kTrainInput, kClasses)),
        val_graph(configuration.network(kValInput, kClasses)),
        parameters(train_graph.parameters(), context.stream, true),
        train(configuration.samples, kTrainInput, kClasses, 1),
        val(4, kValInput, kClasses, 50),
        trainer(initialized(), val_graph, parameters, context, train, val,
                options(folder, configuration), observer) {}

 private:
  const Graph& initialized() {
    parameters.initialize(11);
    return train_graph;
  }
  static TrainerOptions options(const std::filesystem::path& folder, const Configuration& c) {
    TrainerOptions options;
    options.folder = folder;
    options.epochs = c.epochs;
    options.learning_rate = c.learning_rate;
    options.step.loss = make_loss({loss_term("ce", c.ce_weight), loss_term("dice")});
    options.step.optimizer.kind = c.optimizer;
    options.step.optimizer.accumulate = c.accumulate;
    options.step.optimizer.clip_norm = c.clip_norm;
    options.step.optimizer.ema = c.ema;
    options.step.optimizer.loss_scaling = c.loss_scaling;
    options.step.dtype = c.dtype;
    options.step.seed = 5;
    options.fine_tuning = c.fine_tuning;
    options.patience = c.patience;
    options.best_by = c.best_by;
    options.min_delta = c.min_delta;
    options.average = c.average;
    options.keep_every = c.keep_every;
    options.recoveries = c.recoveries;
    options.checkpoint_seconds = c.checkpoint_seconds;
    options.info.network = "test";
    options.info.class_names = {"a", "b", "c"};
    options.info.palette = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}};
    options.info.inverse_ids = {0, 1, 2};
    options.info.label_set = "custom";
    options.info.height = kTrainInput.h;
    options.info.width = kTrainInput.w;
    options.info.precision = "fp32";
    return options;
  }

 public:
  DeviceContext context;
  Graph train_graph, val_graph;
  Parameters parameters;
  MemorySource train, val;
  Recorder observer;
  Trainer trainer;
};

inline std::vector<nlohmann::json> log_entries(const std::filesystem::path& folder,
                                               const std::string& event) {
  std::vector<nlohmann::json> entries;
  std::ifstream file(folder / "log.jsonl");
  for (std::string line; std::getline(file, line);) {
    nlohmann::json entry = nlohmann::json::parse(line);
    if (entry.at("event") != event) continue;
    for (const char* time : {"seconds", "images_per_second", "data_wait_seconds"}) {
      entry.erase(time);
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

/// The columns of results.csv that do not depend on time, as text.
inline std::vector<std::string> results(const std::filesystem::path& folder) {
  std::vector<std::string> lines;
  std::ifstream file(folder / "results.csv");
  for (std::string line; std::getline(file, line);) {
    size_t end = 0;
    for (int column = 0; column < 8; ++column) end = line.find(',', end) + 1;
    lines.push_back(line.substr(0, end));
  }
  return lines;
}

inline void expect_same_models(const std::filesystem::path& a, const std::filesystem::path& b) {
  for (const char* file : {"last.safetensors", "best.safetensors"}) {
    SCOPED_TRACE(file);
    const Model first = load_model(a / file, ModelPart::everything);
    const Model second = load_model(b / file, ModelPart::everything);
    EXPECT_EQ(first.parameters, second.parameters);
    EXPECT_EQ(first.optimizer, second.optimizer);
    EXPECT_EQ(first.info.metrics, second.info.metrics);
    EXPECT_EQ(first.info.epoch, second.info.epoch);
    EXPECT_EQ(first.info.step, second.info.step);
  }
}

/// That two runs left the same results, bit for bit.
inline void expect_same_runs(const std::filesystem::path& a, const std::filesystem::path& b) {
  EXPECT_EQ(log_entries(a, "step"), log_entries(b, "step"));
  EXPECT_EQ(log_entries(a, "epoch"), log_entries(b, "epoch"));
  EXPECT_EQ(results(a), results(b));
  expect_same_models(a, b);
}

}  // namespace macadam::testing
