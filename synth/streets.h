#pragma once
// A data set of procedural streets on disk, in the layout of Cityscapes.

#include <cstdint>
#include <filesystem>
#include <functional>

namespace macadam {

struct StreetsOptions {
  int train_images = 400, val_images = 100;
  int height = 256, width = 512;
  uint64_t seed = 1;
};

/// Called after every image, from one thread at a time.
using StreetsProgress = std::function<void(int done, int total)>;

/// Writes leftImg8bit/SPLIT/CITY/CITY_NNNNNN_000000_leftImg8bit.png and the masks
/// gtFine/SPLIT/CITY/CITY_NNNNNN_000000_gtFine_labelIds.png for the splits train and val, and at
/// the end, when every street is there, the options to streets.toml. Runs on all OpenMP threads;
/// every file appears complete or not at all. An image depends on the seed, the size, its split and
/// its number alone, never on the counts. A folder that this function wrote is replaced; InputError
/// when `folder` holds anything else, or when an option is out of range.
void write_streets(const std::filesystem::path& folder, const StreetsOptions& options,
                   const StreetsProgress& progress = {});

}  // namespace macadam
