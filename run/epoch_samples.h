#pragma once
// What each epoch makes of the same few samples: how a network learns, for people to look at.

#include <cstdint>
#include <filesystem>

#include "engine/infer/evaluator.h"
#include "loader/dataset.h"
#include "loader/label_set.h"

namespace macadam {

/// Writes, for each sample of `evaluation`, FOLDER/samples/epochs/SAMPLE/EPOCH.png (the predicted
/// classes, with their palette; four digits), and once photo.png and truth.png beside it. A run of
/// 30 epochs keeps a few megabytes. Throws RunError when they cannot be written.
void write_epoch_samples(const std::filesystem::path& folder, const Dataset& dataset,
                         const LabelSet& labels, int64_t epoch, const Evaluation& evaluation);

}  // namespace macadam
