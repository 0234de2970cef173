#pragma once
// The photos that a command line names.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/folder.h"

namespace macadam {

struct Photo {
  std::filesystem::path file;
  std::filesystem::path name;  // of results: relative to the folder it was found in, no extension
};

struct PhotoList {
  std::vector<Photo> photos;             // in the order of the arguments, folders by name
  std::vector<UnusableEntry> unusable;   // in the folders: dead links, devices and the like
  std::vector<std::string> predictions;  // arguments that are folders of predictions: left out
};

/// Files as they are named, folders replaced by the photos below them (files_below). A photo that
/// is named twice comes once. Throws InputError, before anything is opened, for an argument that
/// does not exist or is neither a folder nor a regular file, when two photos have one name, and
/// when there is no photo at all.
PhotoList list_photos(std::span<const std::string> arguments);

}  // namespace macadam
