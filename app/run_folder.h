#pragma once
// The folder of a training run: made before it, described after it.

#include <filesystem>

#include "app/config.h"
#include "kernels/device.h"
#include "loader/loader.h"

namespace macadam {

/// RUNS/NAME of a configuration.
std::filesystem::path run_folder(const Config& config);

/// Creates the folder and writes config.toml. Throws InputError when it already holds a run and
/// `resume` is false, or when `resume` is true and a key that changes the results differs from the
/// run's own configuration (the key is named).
void prepare_run_folder(const Config& config, bool resume);

/// Writes report.html, curves.svg, confusion.svg and samples/*.png from the run's results.csv and
/// best.safetensors, scored again on the validation split.
void write_run_report(const Config& config, Loader& val_loader, const DeviceInfo& device,
                      DType dtype);

}  // namespace macadam
