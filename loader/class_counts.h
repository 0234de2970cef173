#pragma once
// How often classes occur in a split, from its masks alone.

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "loader/class_weights.h"
#include "loader/dataset.h"
#include "loader/label_set.h"

namespace macadam {

/// Pixels of every id of a mask; of a pack, of every label.
using IdCounts = std::array<uint64_t, 256>;

/// Adds an image. Requires one of `classes` for each class of `labels`.
void add_image(const IdCounts& ids, const LabelSet& labels, std::vector<ClassFrequency>& classes);

/// Reads every mask of the split at its own size, and no photo; `threads` of them at once (0 = all
/// cores). The result does not depend on them. `progress` gets the masks done and in all, on the
/// calling thread. Throws InputError as read_mask does, and for an unknown id.
std::vector<ClassFrequency> count_classes(
    const Dataset& dataset, const LabelSet& labels, int threads = 0,
    const std::function<void(int64_t, int64_t)>& progress = {});

}  // namespace macadam
