#pragma once
// Pictures of what augmentation makes of a data set.

#include <cstdint>
#include <filesystem>

#include "loader/loader.h"
#include "run/observer.h"

namespace macadam {

/// Writes FOLDER/ID.png for `count` samples spread over the split: the photo, and what training
/// would see of it in its first epochs, each with its labels laid over it below. `options` are
/// those of training; of their batch, threads and order nothing depends. Makes the folder,
/// and marks it as one whose pictures are no photos. Throws what loading and writing throw.
void write_contact_sheets(const Dataset& dataset, const LabelSet& labels,
                          const LoaderOptions& options, int count,
                          const std::filesystem::path& folder, Observer& observer);

}  // namespace macadam
