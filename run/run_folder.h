#pragma once
// The folder of a training run, held by one process while it trains.

#include <filesystem>

#include "base/file_lock.h"
#include "run/config.h"
#include "run/observer.h"

namespace macadam {

/// RUNS/NAME of a configuration.
std::filesystem::path run_folder(const Config& config);

/// A run's folder, of which this process alone writes files while the object lives.
class RunFolder {
 public:
  /// Takes the folder: makes it if it is a new run's, and clears temporary files of killed
  /// processes. Throws InputError when another process trains in it (naming that, and touching
  /// nothing), and when it holds a run already and `resume` is false; RunError when it cannot be
  /// written. Notices a file system without locks.
  RunFolder(std::filesystem::path folder, bool resume, Observer& observer);

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  FileLock lock_;
};

}  // namespace macadam
