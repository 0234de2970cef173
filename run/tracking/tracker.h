#pragma once
// A tool that people follow runs with: it is told of a run what its log says.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/train/epoch_record.h"
#include "engine/train/trainer.h"
#include "image/image.h"

namespace macadam {

/// A key of the configuration and its value, as text.
struct TrackedParameter {
  std::string key, value;
};

struct TrackedPicture {
  std::string name;
  Image picture;  // RGB
};

/// No method throws for what the tool cannot take: it says so once, by the notice it was made with,
/// and training goes on.
class Tracker {
 public:
  virtual ~Tracker() = default;

  /// The last epoch that it has been told of, by this process or an earlier one of the run.
  virtual int64_t known_epoch() const = 0;
  /// Optimiser step `step` (from 0) of the run.
  virtual void update(int64_t step, double loss, double lr) = 0;
  virtual void epoch(const EpochRecord& record) = 0;
  /// IoU of the classes in `epoch`, NaN for those that occur nowhere.
  virtual void classes(int64_t epoch, std::span<const Score> ious) = 0;
  /// What the best epoch so far makes of some samples.
  virtual void pictures(int64_t epoch, std::span<const TrackedPicture> pictures) = 0;
  /// The run has gone back to `epoch` finished epochs and `steps` optimiser steps: it has not been
  /// told of a later epoch, but of later steps.
  virtual void recover(int64_t epoch, int64_t steps) = 0;
  /// The run ends here, or is interrupted or paused and may go on.
  virtual void end(TrainingEnd end) = 0;
  /// The run has failed.
  virtual void fail() = 0;
};

}  // namespace macadam
