#pragma once
// The tools that follow a run, told of what its observer is told.

#include <filesystem>
#include <memory>
#include <vector>

#include "engine/train/trainer.h"
#include "loader/loader.h"
#include "run/config.h"
#include "run/observer.h"
#include "run/tracking/tracker.h"

namespace macadam {

/// Passes everything on to another observer as well.
class RunTracking final : public TrainingObserver {
 public:
  /// `next` outlives it.
  explicit RunTracking(TrainingObserver& next) : next_(next) {}

  /// Takes up the trackers that `config` asks for, where the run in `folder`, new or `resumed`, has
  /// finished `epoch` epochs and `steps` steps. `notices` outlives it. Throws InputError when
  /// MLflow's address is none.
  void begin(const Config& config, const std::filesystem::path& folder, bool resumed, int64_t epoch,
             int64_t steps, Observer& notices);

  /// What an epoch made of the validation split of `val`, before on_epoch() is told of it.
  void evaluated(const EpochRecord& record, const Evaluation& evaluation, const Loader& val);
  void end(TrainingEnd end);
  void fail();

  void on_phase(const Phase& phase) override { next_.on_phase(phase); }
  void on_step(const Progress& progress) override { next_.on_step(progress); }
  void on_update(const Update& update) override;
  void on_validation(int64_t batch, int64_t batches) override {
    next_.on_validation(batch, batches);
  }
  void on_epoch(const EpochRecord& record) override;
  void on_recovery(const Recovery& recovery) override;
  void on_average(const Average& average) override { next_.on_average(average); }

 private:
  TrainingObserver& next_;
  std::vector<std::unique_ptr<Tracker>> trackers_;
  // Of the last evaluation.
  std::vector<Score> ious_;
  std::vector<TrackedPicture> pictures_;  // where it is the best so far
};

}  // namespace macadam
