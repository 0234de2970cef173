#include "loader/split_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/parameter_value.h"
#include "base/text.h"
#include "base/toml.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMostBytes = size_t{1} << 28;

[[noreturn]] void fail(const ParameterValue& value, const fs::path& file, std::string_view what,
                       std::string_view remedy) {
  throw InputError(what, place_of(value.origin, file.string()), remedy);
}

const std::string& text_of(const ParameterValue& value, const fs::path& file,
                           std::string_view key) {
  const auto* text = std::get_if<std::string>(&value.value);
  if (!text || text->empty()) {
    fail(value, file, fmt::format("{} is {}, not a text", quote(key), type_name(value)),
         "quote it");
  }
  return *text;
}

SplitEntry entry_of(const ParameterValue& value, const fs::path& file, std::string_view split) {
  const std::string& text = text_of(value, file, split);
  const size_t slash = text.find('/');
  if (slash == 0 || slash == std::string::npos || slash + 1 == text.size()) {
    fail(value, file, fmt::format("{} is no photo", quote(text)),
         "write the split that it is in, a slash and its name: \"train/NAME\"");
  }
  return {text.substr(0, slash), text.substr(slash + 1)};
}

/// Whether TOML takes the name without quotes.
bool is_bare_key(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
}

void read_splits(const ParameterValue& value, const fs::path& file, SplitFile& result) {
  const auto* splits = std::get_if<ParameterTable>(&value.value);
  if (!splits || splits->empty()) {
    fail(value, file, "\"splits\" is no table of lists", "write [splits] and train = [...]");
  }
  std::set<std::pair<std::string, std::string>> seen;  // splits and ids
  for (const auto& [name, list] : *splits) {
    const auto* entries = std::get_if<ParameterList>(&list.value);
    if (!entries || entries->empty()) {
      fail(list, file, fmt::format("split {} is no list of photos", quote(name)),
           "list at least one, or take it out");
    }
    std::vector<SplitEntry>& split = result.splits[name];
    for (const ParameterValue& entry : *entries) {
      split.push_back(entry_of(entry, file, name));
      if (seen.emplace(split.back().split, split.back().id).second) continue;
      fail(entry, file,
           fmt::format("photo {} stands twice", quote(split.back().split + "/" + split.back().id)),
           "keep it in one split");
    }
  }
}

}  // namespace

bool is_split_file(const fs::path& path) {
  return path.extension() == ".toml" && fs::is_regular_file(path);
}

SplitFile read_split_file(const fs::path& path) {
  return parse_split_file(read_file(path, kMostBytes), path);
}

SplitFile parse_split_file(std::string_view toml, const fs::path& path) {
  static const std::vector<std::string> kKeys{"dataset", "by", "seed", "splits"};
  const ParameterTable table = parse_toml(toml, path.string());
  for (const auto& [name, value] : table) {
    if (std::ranges::find(kKeys, name) != kKeys.end()) continue;
    fail(value, path, fmt::format("unknown key {} of a data set's division", quote(name)),
         fmt::format("did you mean \"{}\"? `macadam split` writes such files",
                     nearest(name, kKeys)));
  }
  for (const char* key : {"dataset", "splits"}) {
    if (find(table, key)) continue;
    throw InputError(fmt::format("no data set's division: \"{}\" is missing", key), path.string(),
                     "give a data set's folder, a pack, or a file that `macadam split` wrote");
  }
  SplitFile file;
  const ParameterValue& dataset = *find(table, "dataset");
  file.dataset = (path.parent_path() / text_of(dataset, path, "dataset")).lexically_normal();
  if (!fs::is_directory(file.dataset)) {
    fail(dataset, path, fmt::format("the data set {} is no folder", quote(file.dataset.string())),
         "correct its path, which is relative to this file");
  }
  if (const ParameterValue* by = find(table, "by")) file.by = text_of(*by, path, "by");
  if (const ParameterValue* seed = find(table, "seed")) {
    const auto* number = std::get_if<int64_t>(&seed->value);
    if (!number || *number < 0) {
      fail(*seed, path, "\"seed\" is no integer from 0 on", "it is what --seed was, for people");
    }
    file.seed = *number;
  }
  read_splits(*find(table, "splits"), path, file);
  return file;
}

void write_split_file(const fs::path& path, const SplitFile& file) {
  const fs::path folder = fs::weakly_canonical(fs::absolute(path)).parent_path();
  const fs::path dataset = fs::weakly_canonical(file.dataset).lexically_relative(folder);
  std::string text =
      fmt::format("dataset = {}\nby = {}\nseed = {}\n\n[splits]\n",
                  toml_string(dataset.generic_string()), toml_string(file.by), file.seed);
  const auto add = [&](const std::string& name) {
    text += fmt::format("{} = [\n", is_bare_key(name) ? name : toml_string(name));
    for (const SplitEntry& entry : file.splits.at(name)) {
      text += fmt::format("  {},\n", toml_string(entry.split + "/" + entry.id));
    }
    text += "]\n";
  };
  const std::array<std::string, 3> first{"train", "val", "test"};
  for (const std::string& name : first) {
    if (file.splits.contains(name)) add(name);
  }
  for (const auto& [name, entries] : file.splits) {
    if (std::ranges::find(first, name) == first.end()) add(name);
  }
  write_file_atomically(path, text);
}

fs::path undivided(const fs::path& root) {
  return is_split_file(root) ? read_split_file(root).dataset : root;
}

}  // namespace macadam
