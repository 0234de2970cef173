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

/// The file events.out.tfevents.macadam in `folder`. Where the run goes on behind `epoch` finished
/// epochs and `steps` optimiser steps, what the file says of later ones is taken back. The step of
/// TensorBoard is the epoch, under steps/ that of the optimiser. `notice` is told once when the
/// file cannot be written.
std::unique_ptr<Tracker> make_tensorboard(const std::filesystem::path& folder, int64_t epoch,
                                          int64_t steps,
                                          std::span<const TrackedParameter> parameters,
                                          std::function<void(const std::string&)> notice);

}  // namespace macadam
