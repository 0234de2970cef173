#pragma once
// batch = "auto": as many photos as the device's memory holds.

#include <cstddef>
#include <functional>

#include "engine/model/model_info.h"
#include "kernels/tensor.h"
#include "run/config.h"
#include "run/observer.h"

namespace macadam {

/// The largest power of two up to `most` (at least 1) for which bytes_of() is at most `budget`; 0
/// where not even one is. Those between 2 and the answer are not asked for where bytes grow
/// linearly, as those of activations do.
int largest_batch(size_t budget, int most, const std::function<size_t(int batch)>& bytes_of);

/// For a run of the configuration: what a training step, its validation and the optimiser take is
/// at most 0.7 of the memory that is free now, and a batch has at most 64 photos and an eighth of
/// the training photos, so that an epoch is several steps; but two at least where batch norms could
/// not be trained on a photo alone (norm_of_one_value()). Says what it has chosen. `teacher`, if it
/// is not null, is that of the run. Throws RunError when so few do not fit.
int choose_batch(const Config& config, int classes, const ModelInfo* teacher,
                 size_t training_photos, Device device, DType dtype, Observer& observer);

}  // namespace macadam
