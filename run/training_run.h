#pragma once
// Training as a function: from a configuration to a run folder with models, logs and a report.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/infer/metrics.h"
#include "engine/train/step_profile.h"
#include "engine/train/trainer.h"
#include "run/config.h"
#include "run/observer.h"

namespace macadam {

struct TrainingRunOptions {
  bool resume = false;         // go on from the folder's last checkpoint
  bool dataset_moved = false;  // with it: samples of the same names elsewhere are the same data set
  bool profile = false;        // for profile() alone: no folder is made or touched
  /// The run pauses behind this epoch, with a report of what it is by then; 0: it does not. One
  /// that is resumed there, or has ended, is taken as it is: nothing is written.
  int64_t stop_epoch = 0;
};

class RunObserver : public Observer, public TrainingObserver {
 public:
  /// Which pretrained weights the network has taken, in lines.
  virtual void on_weights(const std::string& report) { static_cast<void>(report); }
};

/// Of the best epoch, on the split that neither training nor the choice of the epoch has seen.
struct TestScores {
  size_t images = 0;
  SegmentationMetrics metrics;
  std::vector<std::string> class_names;
};

struct RunResult {
  TrainingEnd end = TrainingEnd::finished;
  int64_t best_epoch = 0;                                        // 0: none
  double best_score = std::numeric_limits<double>::quiet_NaN();  // its mean IoU
  std::optional<TestScores> test;  // where the run has ended now and has such a split
};

class TrainingRun {
 public:
  /// Finds everything in order before anything is written: configuration, device, data sets,
  /// pretrained weights, a teacher; with `resume` also that it is the same run. Then holds the
  /// run's folder, and has brought the network to the device. `observer` outlives it. Throws
  /// InputError as open_training_data, open_teacher, check_same_configuration, check_same_data,
  /// WeightImport, RunFolder and Trainer::resume do, and when `profile` is asked for with more than
  /// a batch a step.
  TrainingRun(Config config, const TrainingRunOptions& options, RunObserver& observer);
  ~TrainingRun();
  TrainingRun(const TrainingRun&) = delete;
  TrainingRun& operator=(const TrainingRun&) = delete;

  /// What is left open in a configuration is decided here: label set, normalisation, options.
  const Config& config() const;

  /// Trains (Trainer::run), and unless that was interrupted writes the report and, where it has
  /// ended, scores the test split. Requires that `profile` was not asked for.
  RunResult run(const std::function<bool()>& stop_requested);

  /// Where the time of a step goes, over `steps` of them. Requires that `profile` was asked for.
  StepProfile profile(int64_t steps);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace macadam
