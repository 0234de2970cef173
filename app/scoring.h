#pragma once
// A model over the labelled images of a split, at the network's own size.

#include <cstdint>
#include <functional>

#include "engine/evaluator.h"
#include "loader/loader.h"
#include "models/loaded_model.h"

namespace macadam {

/// The images of `dataset` at the model's size, with the labels of the model's label set.
/// reduced_decoding: see LoaderOptions. Throws InputError when a custom label set has other classes
/// than the model.
Loader open_loader(const ModelInfo& info, Dataset dataset, int batch, int threads, Device device,
                   bool reduced_decoding = true);

/// The confusion matrix over the whole loader. `progress` gets batches done and in all.
ConfusionMatrix score(LoadedModel& model, Loader& loader, Stream& stream, Ops& ops, DType dtype,
                      const std::function<void(int64_t, int64_t)>& progress);

}  // namespace macadam
