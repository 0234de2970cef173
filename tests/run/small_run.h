#pragma once
// A run of UNet-mini on the CPU that takes a second, on streets of its own.

#include <filesystem>
#include <string>
#include <vector>

#include "run/config.h"
#include "synth/streets.h"

namespace macadam::testing {

/// The data set FOLDER/streets, of whole batches.
inline void write_small_streets(const std::filesystem::path& folder, int train_images) {
  write_streets(folder / "streets",
                {.train_images = train_images, .val_images = 4, .height = 32, .width = 64});
}

/// Three epochs on it in batches of two, into FOLDER/runs/NAME; `more` lines of TOML, `overrides`.
inline Config small_run(const std::filesystem::path& folder, const std::string& name,
                        const std::string& more = "",
                        const std::vector<std::string>& overrides = {}) {
  return parse_config(R"(network = "unet_mini"
dataset = "streets"
size = [32, 64]
batch = 2
precision = "fp32"
device = "cpu"
epochs = 3
runs = "runs"
name = ")" + name + "\"\n" +
                          more,
                      (folder / "run.toml").string(), overrides);
}

}  // namespace macadam::testing
