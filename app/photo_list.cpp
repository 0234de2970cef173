#include "app/photo_list.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "loader/dataset.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;

void add_folder(const fs::path& folder, PhotoList& list) {
  FolderFiles found = files_below(folder, {.extensions = photo_extensions()});
  for (fs::path& file : found.files) {
    fs::path name = file.lexically_relative(folder).replace_extension();
    list.photos.push_back({std::move(file), std::move(name)});
  }
  std::ranges::move(found.unusable, std::back_inserter(list.unusable));
}

void add_argument(const std::string& argument, PhotoList& list) {
  const fs::path path(argument);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) {
    if (holds_predictions(path)) {
      list.predictions.push_back(argument);
    } else {
      add_folder(path, list);
    }
  } else if (fs::is_regular_file(status)) {
    list.photos.push_back({path, path.stem()});
  } else if (fs::exists(status)) {
    throw InputError("not a photo: neither a regular file nor a folder", argument,
                     "name JPEG, PNG or BMP files, or folders of them");
  } else {
    throw InputError("cannot read the file (" + error.message() + ")", argument, "check the path");
  }
}

/// Every photo has a name of its own; one that was named twice comes once.
std::vector<Photo> without_repetitions(std::vector<Photo> photos) {
  std::map<fs::path, fs::path> files;  // by name
  std::vector<Photo> once;
  for (Photo& photo : photos) {
    const auto [known, is_new] = files.emplace(photo.name, photo.file);
    if (is_new) {
      once.push_back(std::move(photo));
      continue;
    }
    std::error_code error;
    if (fs::equivalent(known->second, photo.file, error)) continue;
    throw InputError("two photos would write the same files",
                     known->second.string() + ", " + photo.file.string(),
                     "rename one, or predict them into different folders");
  }
  return once;
}

}  // namespace

PhotoList list_photos(std::span<const std::string> arguments) {
  PhotoList list;
  for (const std::string& argument : arguments) add_argument(argument, list);
  list.photos = without_repetitions(std::move(list.photos));
  if (list.photos.empty() && list.unusable.empty()) {
    throw InputError("no photo to predict", joined(arguments),
                     "name JPEG, PNG or BMP files, or folders of them");
  }
  return list;
}

}  // namespace macadam
