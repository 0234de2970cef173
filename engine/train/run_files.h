#pragma once
// All that a trainer writes: models, checkpoints and logs of one run. Where several processes train
// together, one of them writes.

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "engine/train/checkpoint.h"
#include "engine/train/run_log.h"

namespace macadam {

class RunFiles {
 public:
  /// Opens nothing yet. Requires that `folder` exists.
  explicit RunFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path best() const { return folder_ / "best.safetensors"; }
  std::filesystem::path last() const { return folder_ / "last.safetensors"; }
  /// Of the average of the best epochs.
  std::filesystem::path average() const { return folder_ / "average.safetensors"; }
  /// The folder of the models of chosen epochs.
  std::filesystem::path models() const { return folder_ / "models"; }
  std::filesystem::path of_epoch(int64_t epoch) const {
    return models() / fmt::format("epoch_{:04}.safetensors", epoch);
  }
  bool has_checkpoint() const { return std::filesystem::exists(last()); }

  /// Opens the logs and cuts them back to where the run is (RunLog). Call before the following.
  void begin(const RunState& state) { log_.emplace(folder_, state.epoch, state.steps); }
  RunLog& log() { return *log_; }
  void write_best(const Snapshot& model, const ModelInfo& info, const RunState& state) {
    model.write(best(), info, state);
  }
  void remove_checkpoint() { std::filesystem::remove(last()); }
  /// The logs first, so that none lacks what a checkpoint has behind it.
  void write_checkpoint(const Snapshot& run, const ModelInfo& info, const RunState& state) {
    log_->flush();
    run.write(last(), info, state);
  }

 private:
  std::filesystem::path folder_;
  std::optional<RunLog> log_;
};

}  // namespace macadam
