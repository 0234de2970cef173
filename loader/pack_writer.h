#pragma once
// Makes a pack of a data set.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "loader/label_set.h"
#include "loader/pack_format.h"

namespace macadam {

struct PackOptions {
  int height = 0, width = 0;  // 0: every photo at its own size
  int jpeg_quality = 0;       // 1 to 100; 0: raw photos
  LabelCoding labels = LabelCoding::runs;
  int threads = 0;  // 0 = all cores
  bool skip_damaged = false;
  bool strict = true;  // JPEGs with faults that cost no pixel are damaged (DecodeOptions::fault)
};

struct PackSummary {
  int64_t samples = 0;
  uint64_t bytes = 0;                // of the file
  std::vector<std::string> skipped;  // what was left out: an error message a sample
  std::vector<std::string> faults;   // of photos that were taken without `strict`
};

/// Decodes every sample of every split of the data set `root` (a folder or a pack) once, but for
/// splits without masks (is_unlabeled), which are left out, and writes `out`, completely or not at
/// all (base/files.h). The same data set and options give the same bytes for any number of
/// threads. A sample that cannot be loaded is an InputError, the first of the data set's order, or
/// with `skip_damaged` left out. `progress` gets the samples done and in all; an exception of it
/// ends the work.
PackSummary write_pack(const std::filesystem::path& root, const LabelSet& labels,
                       const std::filesystem::path& out, const PackOptions& options,
                       const std::function<void(int64_t, int64_t)>& progress = {});

}  // namespace macadam
