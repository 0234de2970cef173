#include "loader/split_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxListBytes = size_t{1} << 28;
constexpr std::string_view kSpace = " \t\r";

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

/// The keys by which a line may mean a photo: a name may hold spaces or have an extension, and a
/// path may begin above the photos' folder.
std::vector<std::string> keys_in(std::string_view line) {
  const fs::path first_word(line.substr(0, line.find_first_of(kSpace)));
  std::vector<std::string> keys;
  for (fs::path name : {fs::path(line), first_word, first_word.filename()}) {
    keys.push_back(name.generic_string());
    keys.push_back(name.replace_extension().generic_string());
  }
  return keys;
}

}  // namespace

std::map<std::string, fs::path> find_split_lists(const fs::path& root) {
  std::map<std::string, fs::path> lists;
  for (const fs::path& folder : {root / "ImageSets" / "Segmentation", root / "ImageSets"}) {
    if (!lists.empty() || !fs::is_directory(folder)) continue;
    try {
      for (const auto& entry : fs::directory_iterator(folder)) {
        const fs::path& file = entry.path();
        if (file.extension() != ".txt" || file.filename().string().starts_with('.')) continue;
        if (entry.is_regular_file()) lists[file.stem().string()] = file;
      }
    } catch (const fs::filesystem_error& error) {
      throw InputError("cannot list folder", folder.string(), error.code().message());
    }
  }
  if (lists.contains("train") && lists.contains("val")) lists.erase("trainval");
  return lists;
}

std::map<std::string, fs::path> listed_photos(const std::map<std::string, fs::path>& photos,
                                              const fs::path& list, const fs::path& folder) {
  std::string text = read_file(list, kMaxListBytes);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  std::map<std::string, fs::path> listed;
  std::istringstream lines(text);
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const std::string_view name = trimmed(line);
    if (name.empty()) continue;
    const std::vector<std::string> keys = keys_in(name);
    const auto key = std::ranges::find_if(keys, [&](const auto& k) { return photos.contains(k); });
    if (key != keys.end()) {
      listed.insert(*photos.find(*key));
      continue;
    }
    throw InputError(fmt::format("photo \"{}\" is not in {}", name, folder.string()),
                     fmt::format("{}, line {}", list.string(), number),
                     "add it, or take it out of the list");
  }
  return listed;
}

}  // namespace macadam
