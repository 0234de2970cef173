#pragma once
// The text files of a run folder: log.jsonl (one JSON object an event) and results.csv (one line
// an epoch). Resuming cuts both back to the checkpoint, so that nothing appears twice.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/train/epoch_record.h"

namespace macadam {

/// The lines of a results.csv, by the names in its header: of those that are not EpochRecord's own,
/// train_X and val_X are terms of the loss, the others scores. What the header lacks is NaN. Empty
/// when there is no such file; throws InputError when it is not one.
std::vector<EpochRecord> read_results(const std::filesystem::path& file);

class RunLog {
 public:
  /// Opens the files of `folder`; keeps only steps below `step` and epochs up to `epoch` (0, 0
  /// starts anew), and no damaged line. Throws RunError when they cannot be written.
  RunLog(const std::filesystem::path& folder, int64_t epoch, int64_t step);

  /// That the run went on from `step` again, in `epoch` finished epochs, and why.
  void recovery(int64_t epoch, int64_t step, int64_t count, const std::string& reason);
  void step(int64_t epoch, int64_t step, double loss, double lr);
  /// In an older file's results.csv, the columns that its header names.
  void epoch(const EpochRecord& record);
  /// Hands everything to the operating system. Throws RunError when the disk is full.
  void flush();

 private:
  std::filesystem::path log_path_, results_path_;
  std::ofstream log_, results_;
  std::vector<std::string> columns_;  // of results.csv
};

}  // namespace macadam
