#pragma once
// The folder of a training run: held by one process while it trains, described after it.

#include <filesystem>

#include "app/config.h"
#include "base/file_lock.h"
#include "kernels/device.h"
#include "loader/loader.h"

namespace macadam {

/// RUNS/NAME of a configuration.
std::filesystem::path run_folder(const Config& config);

/// A run's folder, of which this process alone writes files while the object lives.
class RunFolder {
 public:
  /// Takes the folder: makes it if it is a new run's, and clears temporary files of killed
  /// processes. Throws InputError when another process trains in it (naming that, and touching
  /// nothing), and when it holds a run already and `resume` is false; RunError when it cannot be
  /// written.
  RunFolder(std::filesystem::path folder, bool resume);

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  FileLock lock_;
};

/// Writes report.html, curves.svg, confusion.svg and samples/*.png from the run's results.csv and
/// best.safetensors, scored again on the validation split.
void write_run_report(const Config& config, Loader& val_loader, const DeviceInfo& device,
                      DType dtype);

}  // namespace macadam
