#pragma once
// dataset.toml: the description of a data set in the plain layout (docs/datasets.md).

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/rgb.h"
#include "loader/label_set.h"
#include "loader/mask.h"

namespace macadam {

inline constexpr const char* kDatasetFileName = "dataset.toml";

struct DatasetFile {
  struct Class {
    std::string name;
    std::vector<uint8_t> ids;  // at least one
    Rgb color{};
  };
  struct Folders {
    // Absolute, or relative to the working folder.
    std::filesystem::path images, masks;
    std::filesystem::path list;  // names the split's photos; empty: all in the folder
  };

  std::string name;            // the folder's, when the file gives none
  IdSpace ids = IdSpace::own;  // with others there are no classes
  std::vector<Class> classes;
  /// Ids without a class; when the file says nothing, 255, unless that is a class.
  std::vector<uint8_t> ignore;
  std::map<std::string, Folders> splits;  // empty: found from the folders
  MaskCoding masks;
};

/// Reads FOLDER/dataset.toml. Throws InputError naming the file and the line, key or value when it
/// is missing, not TOML, has an unknown key or a wrong type, neither classes nor label_ids, one id
/// twice, one folder for two splits, or masks of colours and a class without a colour of its own.
DatasetFile read_dataset_file(const std::filesystem::path& folder);

/// Whether FOLDER/dataset.toml is there.
bool has_dataset_file(const std::filesystem::path& folder);

}  // namespace macadam
