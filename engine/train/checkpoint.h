#pragma once
// The state of a training run between two steps, and the model files that hold it.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "engine/model/model_file.h"
#include "engine/plan/parameters.h"
#include "engine/train/optimizer.h"

namespace macadam {

/// A loss scale that no run comes down to as long as some steps have finite gradients.
inline constexpr float kSmallestLossScale = 0x1p-24f;

/// Where a run is. All of it but the last member is in a checkpoint.
struct RunState {
  int64_t epoch = 0;                         // finished epochs
  int64_t steps = 0;                         // finished optimiser steps
  int64_t batches = 0;                       // in an epoch
  int64_t batch = 0;                         // finished batches of the epoch under way
  double loss_sum = 0;                       // over these
  std::map<std::string, double> term_sums;   // of the loss, by name, over these; NaN: not known
  double epoch_seconds = 0, epoch_wait = 0;  // of the epoch under way
  double best_merit = kNoMerit;              // of the best epoch (merit_of() of best_epochs.h)
  int64_t best_epoch = 0;                    // 0: none
  double waited_merit = kNoMerit;            // what patience waits to see surpassed,
  int64_t waited_epoch = 0;                  // and since when; 0: it does not wait yet
  int64_t recoveries = 0;                    // after losses or weights that were not finite
  std::map<std::string, double> metrics;     // of the last validation
  /// Of the best epoch; kept with its model.
  std::map<std::string, double> best_metrics;

  /// Of no epoch, or of one that could not be scored: below every other.
  static constexpr double kNoMerit = std::numeric_limits<double>::lowest();

  double best(const std::string& metric) const {
    const auto found = best_metrics.find(metric);
    return found == best_metrics.end() ? std::numeric_limits<double>::quiet_NaN() : found->second;
  }
};

/// Host copies of what a model file holds, between the moment when they are right and the moment
/// when they are written.
class Snapshot {
 public:
  /// What predictions are made with: the values of `parameters`.
  static Snapshot of_model(const Parameters& parameters);
  /// All that training goes on from. Waits for the `steps` queued ones.
  static Snapshot of_run(const Parameters& parameters, const Optimizer& optimizer, int64_t steps);

  /// Whether all numbers are.
  bool finite() const { return finite_; }
  /// Of gradients in fp16, else 1.
  float loss_scale() const { return progress_.gradient.loss_scale; }
  /// Writes the file atomically; `info` with epoch, step, metrics and, of a run, the progress that
  /// `state` gives.
  void write(const std::filesystem::path& file, ModelInfo info, const RunState& state) const;

 private:
  using Tensors = std::map<std::string, ModelTensorView>;

  void add(Tensors& tensors, const std::string& name, TensorShape shape, std::vector<float> values);

  std::vector<std::vector<float>> values_;  // moving a vector keeps its data in place
  Tensors parameters_, optimizer_;
  OptimizerProgress progress_;
  bool of_run_ = false, scales_loss_ = false, finite_ = true;
};

/// Brings `parameters` and `optimizer` to where Snapshot::of_run() took `file`, and returns that
/// run's state without the best epoch's metrics. Throws InputError when the file is damaged, or of
/// another network, of other classes or in another precision than `info` names, or of epochs of
/// another number of `batches`.
RunState read_checkpoint(const std::filesystem::path& file, const ModelInfo& info, int64_t batches,
                         Parameters& parameters, Optimizer& optimizer);

}  // namespace macadam
