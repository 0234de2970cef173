#pragma once
// A data set's photos divided anew, without a copy of any: a TOML file that stands wherever a data
// set does (docs/datasets.md).

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace macadam {

/// A photo of the data set that is divided.
struct SplitEntry {
  std::string split, id;  // as they are there

  bool operator==(const SplitEntry&) const = default;
};

struct SplitFile {
  std::filesystem::path dataset;  // what it divides: absolute, or relative to the working folder
  // How it was drawn, for people: "sequence", "city" or "random".
  std::string by;
  int64_t seed = 0;
  std::map<std::string, std::vector<SplitEntry>> splits;
};

/// Whether `path` is a file named *.toml.
bool is_split_file(const std::filesystem::path& path);

/// Throws InputError naming the file, and the line of a photo that stands twice, of an unknown key
/// and of a value that is none of its kind.
SplitFile read_split_file(const std::filesystem::path& path);
/// The same of a text that stands for the file.
SplitFile parse_split_file(std::string_view toml, const std::filesystem::path& path);

/// Writes it completely or not at all, with the data set's path relative to the file's folder.
void write_split_file(const std::filesystem::path& path, const SplitFile& file);

/// The folder or pack that `root` is, or that it divides where it is a split file.
std::filesystem::path undivided(const std::filesystem::path& root);

}  // namespace macadam
