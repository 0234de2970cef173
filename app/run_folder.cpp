#include "app/run_folder.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <sstream>

#include "engine/files.h"
#include "kernels/error.h"

namespace macadam {

namespace {

/// Keys that may change between the parts of one run: they alter no result of the steps to come,
/// but for `epochs`, which stretches the learning-rate schedule of those.
constexpr std::array<std::string_view, 7> kFreeKeys{"epochs",
                                                    "device",
                                                    "loader.threads",
                                                    "loader.cache",
                                                    "early_stopping.patience",
                                                    "checkpoint_seconds",
                                                    "runs"};

/// The "key = value" lines of a TOML text that to_toml wrote, keys with their tables' names.
std::map<std::string, std::string> lines_by_key(const std::string& toml) {
  std::map<std::string, std::string> values;
  std::istringstream lines(toml);
  std::string table;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('[')) {
      table = line.substr(1, line.find(']') - 1) + '.';
    } else if (const size_t equals = line.find('='); equals != std::string::npos) {
      const std::string key = line.substr(0, line.find_last_not_of(" \t", equals - 1) + 1);
      values[table + key] = line.substr(equals + 1);
    }
  }
  return values;
}

void check_same_run(const Config& config, const std::filesystem::path& file) {
  // Read and written anew: keys that a later version added have their defaults.
  const auto before = lines_by_key(to_toml(load_config(file)));
  const auto now = lines_by_key(to_toml(config));
  for (const auto& [key, value] : now) {
    if (std::find(kFreeKeys.begin(), kFreeKeys.end(), key) != kFreeKeys.end()) continue;
    const auto found = before.find(key);
    if (found == before.end() || found->second != value) {
      throw InputError(fmt::format("'{}' is{}, but the run was begun with{}", key, value,
                                   found == before.end() ? " none" : found->second),
                       file.string(), "resume with the same value, or train under another name");
    }
  }
}

}  // namespace

std::filesystem::path run_folder(const Config& config) {
  return std::filesystem::path(config.runs) / config.name;
}

void prepare_run_folder(const Config& config, bool resume) {
  const std::filesystem::path folder = run_folder(config);
  const std::filesystem::path file = folder / "config.toml";
  if (resume) {
    if (!std::filesystem::exists(file)) {
      throw InputError("no run to resume", folder.string(), "train without --resume");
    }
    check_same_run(config, file);
  } else if (std::filesystem::exists(folder / "last.safetensors")) {
    throw InputError("the folder holds a run already", folder.string(),
                     "continue it with --resume, choose another name=, or remove it");
  }
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw RunError("cannot create the run's folder", folder.string(), error.message());
  }
  write_file_atomically(file, to_toml(config));
}

}  // namespace macadam
