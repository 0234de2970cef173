#pragma once
// Files that only save time: where they go, and how they are replaced. A cache never fails.

#include <sys/stat.h>

#include <filesystem>
#include <optional>
#include <string_view>

namespace macadam {

/// Where cached files go: $MACADAM_CACHE where that is set (set but empty: nowhere), else
/// $XDG_CACHE_HOME/macadam, else ~/.cache/macadam. Empty: nowhere.
std::filesystem::path cache_folder();

/// Makes `text` the content of `file`, whose folder is made where it is missing. Readers see the
/// old file or the new one. Returns the new file's status. Nothing waits for the disk: what a
/// power cut leaves is for readers to parse. None if that failed; all is then as it was.
std::optional<struct stat> replace_cache_file(const std::filesystem::path& file,
                                              std::string_view text);

}  // namespace macadam
