#include "run/run_folder.h"

#include <fmt/format.h>

#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

/// Makes the folder; returns the file in it that its process holds.
fs::path lock_file(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw RunError("cannot create the run's folder", folder.string(), error.message());
  return folder / ".lock";
}

}  // namespace

fs::path run_folder(const Config& config) { return fs::path(config.runs) / config.name; }

RunFolder::RunFolder(fs::path folder, bool resume, Observer& observer)
    : path_(std::move(folder)), lock_(lock_file(path_)) {
  if (!lock_.holder().empty()) {
    throw InputError(fmt::format("{} trains in this folder", lock_.holder()), path_.string(),
                     "wait until it is done, or choose another name=");
  }
  if (!lock_.held()) {
    observer.on_notice(fmt::format("no file locks in {}: see that no second process trains there",
                                   quote(path_.string())));
  }
  if (!resume && fs::exists(path_ / "last.safetensors")) {
    throw InputError("the folder holds a run already", path_.string(),
                     "continue it with --resume, choose another name=, or remove it");
  }
  remove_stale_temporaries(path_);
  remove_stale_temporaries(path_ / "samples");
}

}  // namespace macadam
