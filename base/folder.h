#pragma once
// The one walk through folders of photos, masks and weights.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace macadam {

/// Whether the name ends in one of `extensions` (lower case, with the dot), whatever its case.
bool has_extension(const std::filesystem::path& path, std::span<const std::string_view> extensions);

struct FolderQuery {
  std::span<const std::string_view> extensions;  // as in has_extension
  bool recursive = true;
  size_t max_entries = 10'000'000;  // of all folders; more are an InputError
};

/// An entry with a name that was asked for, which is not a file that can be read. `what`: a
/// symbolic link that leads nowhere, or not a regular file.
struct UnusableEntry {
  std::filesystem::path path;
  std::string what;
};

struct FolderFiles {
  std::vector<std::filesystem::path> files;  // regular ones, beginning with the folder's path
  std::vector<UnusableEntry> unusable;       // dead links without an extension (to folders?) too
};

/// The files below `folder` that `query` asks for, both lists in the order of their paths' bytes.
/// Links are followed, but every folder is entered once, by its device and inode, under its own
/// name rather than a link's, and a link back to `folder` or to one that holds it is not followed:
/// links in a circle end. Nothing is opened. Passed over are hidden entries, what systems leave
/// among pictures (__MACOSX, Thumbs.db, @eaDir ...), and folders of predictions but for `folder`
/// itself. Throws InputError when a folder cannot be listed.
FolderFiles files_below(const std::filesystem::path& folder, const FolderQuery& query);

/// The names of the folders in `folder`, links to folders included, without those that files_below
/// passes over, in the order of their bytes; none where `folder` is none. Throws InputError when it
/// cannot be listed.
std::vector<std::string> folders_in(const std::filesystem::path& folder);

/// Whether the file is there and, links followed, below `folder`.
bool lies_in(const std::filesystem::path& file, const std::filesystem::path& folder);

/// Leaves a hidden file in `folder`, which exists, that says that pictures of the program's own lie
/// there, which are no photos: predictions, samples, contact sheets. Throws RunError when it cannot
/// be written.
void mark_predictions(const std::filesystem::path& folder);
bool holds_predictions(const std::filesystem::path& folder);

/// Throws InputError when such pictures would come among other files: `folder` is there, is not
/// empty and is not marked.
void check_predictions_place(const std::filesystem::path& folder);

}  // namespace macadam
