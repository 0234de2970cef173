#include "base/folder.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPredictionsMark = ".macadam-predictions";

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// Hidden, or left among pictures by macOS, Windows, Synology's and ext's file systems.
bool passed_over(const std::string& name) {
  static constexpr std::array<std::string_view, 6> kOthers{
      "__macosx", "thumbs.db", "@eadir", "$recycle.bin", "system volume information", "lost+found"};
  return name.starts_with('.') || std::ranges::find(kOthers, lower(name)) != kOthers.end();
}

/// Calls `take(entry)` for all of a folder but what is passed over.
template <class Take>
void for_each_entry(const fs::path& folder, const Take& take) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!passed_over(entry->path().filename().string())) take(*entry);
  }
  if (error) {
    throw InputError(fmt::format("cannot list the folder ({})", error.message()), folder.string(),
                     "check the path and its permissions");
  }
}

class Walk {
 public:
  Walk(const fs::path& root, const FolderQuery& query) : root_(root), query_(query) {
    std::error_code error;
    const fs::path absolute = fs::canonical(root, error);
    for (fs::path above = absolute; !error && above.has_relative_path();) {
      above = above.parent_path();
      first_visit(above);
    }
  }

  FolderFiles run() {
    std::set<std::string> links;  // to folders, followed when all real folders are entered
    enter(root_, links);
    while (!links.empty()) enter(links.extract(links.begin()).value(), links);
    std::ranges::sort(found_.files, {}, &fs::path::native);
    std::ranges::sort(found_.unusable, {}, [](const UnusableEntry& e) { return e.path.native(); });
    return std::move(found_);
  }

 private:
  /// False also where the folder has vanished since it was seen.
  bool first_visit(const fs::path& folder) {
    struct stat status {};
    if (::stat(folder.c_str(), &status) != 0) return folder == root_;  // listing it says why
    return visited_.emplace(status.st_dev, status.st_ino).second;
  }

  void enter(const fs::path& start, std::set<std::string>& links) {
    std::set<std::string> waiting{start.string()};
    while (!waiting.empty()) {
      const fs::path folder = waiting.extract(waiting.begin()).value();
      if (!first_visit(folder) || (folder != root_ && holds_predictions(folder))) continue;
      for_each_entry(folder, [&](const fs::directory_entry& entry) {
        if (++entries_ > query_.max_entries) {
          throw InputError(fmt::format("more than {} files and folders", query_.max_entries),
                           root_.string(), "name a folder that holds less besides");
        }
        add(entry, waiting, links);
      });
    }
  }

  void add(const fs::directory_entry& entry, std::set<std::string>& folders,
           std::set<std::string>& links) {
    const fs::path& path = entry.path();
    std::error_code error;
    const bool link = entry.is_symlink(error), wanted = has_extension(path, query_.extensions);
    const fs::file_status status = entry.status(error);
    if (fs::is_directory(status)) {
      if (query_.recursive) (link ? links : folders).insert(path.string());
    } else if (link && !fs::exists(status)) {
      if (wanted || path.extension().empty()) {
        found_.unusable.push_back({path, "a symbolic link that leads nowhere"});
      }
    } else if (wanted) {
      if (fs::is_regular_file(status)) {
        found_.files.push_back(path);
      } else {
        found_.unusable.push_back({path, "not a regular file"});
      }
    }
  }

  fs::path root_;
  const FolderQuery& query_;
  std::set<std::pair<dev_t, ino_t>> visited_;
  size_t entries_ = 0;
  FolderFiles found_;
};

}  // namespace

bool has_extension(const fs::path& path, std::span<const std::string_view> extensions) {
  return std::ranges::find(extensions, lower(path.extension().string())) != extensions.end();
}

FolderFiles files_below(const fs::path& folder, const FolderQuery& query) {
  return Walk(folder, query).run();
}

std::vector<std::string> folders_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  if (!fs::is_directory(folder, error)) return names;
  for_each_entry(folder, [&](const fs::directory_entry& entry) {
    if (entry.is_directory(error) && !holds_predictions(entry.path())) {
      names.push_back(entry.path().filename().string());
    }
  });
  std::ranges::sort(names);
  return names;
}

bool lies_in(const fs::path& file, const fs::path& folder) {
  std::error_code error;
  const fs::path real = fs::canonical(file, error);
  if (error) return false;
  const fs::path real_folder = fs::canonical(folder, error);
  if (error) return false;
  return std::mismatch(real_folder.begin(), real_folder.end(), real.begin(), real.end()).first ==
         real_folder.end();
}

void mark_predictions(const fs::path& folder) {
  write_file_atomically(folder / kPredictionsMark, "Masks and pictures by macadam: not photos.\n");
}

void check_predictions_place(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error) || fs::is_empty(folder, error) ||
      holds_predictions(folder)) {
    return;
  }
  throw InputError("the folder for results holds other files", folder.string(),
                   "choose another folder with -o");
}

bool holds_predictions(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / kPredictionsMark, error);
}

}  // namespace macadam
