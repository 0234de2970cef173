#pragma once
// A run as TensorBoard shows it: scalars, pictures, the confusion matrix, the configuration, and
// the run's line in the table of hyperparameters.

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "run/tracking/tracker.h"

namespace macadam {

struct TensorBoardOptions {
  std::filesystem::path folder;
  int64_t epoch = 0, steps = 0;        // finished ones, behind which the run goes on
  std::string score = "miou_present";  // that the table of hyperparameters shows
};

/// The file events.out.tfevents.macadam in the folder. What it says of epochs and optimiser steps
/// behind those that are finished is taken back, and so it is when the run recovers. The step of
/// TensorBoard is the epoch, under steps/ that of the optimiser. `notice` is told once when the
/// file cannot be written.
std::unique_ptr<Tracker> make_tensorboard(const TensorBoardOptions& options,
                                          std::span<const TrackedParameter> parameters,
                                          std::function<void(const std::string&)> notice);

}  // namespace macadam
