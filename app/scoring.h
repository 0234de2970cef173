#pragma once
// A model over the labelled images of a split, at the network's own size.

#include <cstdint>
#include <functional>

#include "engine/evaluator.h"
#include "loader/loader.h"
#include "models/loaded_model.h"

namespace macadam {

/// The images of `dataset` at the model's size, with their labels as the model's classes.
/// reduced_decoding: see LoaderOptions. Throws InputError when the data set has other classes than
/// the model (make_label_set of app/label_sets.h).
Loader open_loader(const ModelInfo& info, Dataset dataset, int batch, int threads, Device device,
                   bool reduced_decoding = true);

/// The confusion matrix over the whole loader. `progress` gets batches done and in all.
ConfusionMatrix score(LoadedModel& model, Loader& loader, Stream& stream, Ops& ops, DType dtype,
                      const std::function<void(int64_t, int64_t)>& progress);

}  // namespace macadam
