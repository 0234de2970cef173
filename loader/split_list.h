#pragma once
// Splits of a data set that are lists of names in text files, as in PASCAL VOC's ImageSets.

#include <filesystem>
#include <map>
#include <string>

namespace macadam {

/// The lists ROOT/ImageSets/Segmentation/*.txt, or else ROOT/ImageSets/*.txt, by their names
/// without extension; none where there is no such folder. "trainval" is left out beside "train" and
/// "val", which it repeats. Throws InputError when the folder cannot be read.
std::map<std::string, std::filesystem::path> find_split_lists(const std::filesystem::path& root);

/// Of `photos` (keyed by their paths below `folder`, without extension) those that `list` names: a
/// photo a line, by its key or its file name, with or without extension; further words of a line
/// (a flag, the mask) and empty lines are passed over. Throws InputError that names the line of a
/// photo that is not there, and when the list cannot be read.
std::map<std::string, std::filesystem::path> listed_photos(
    const std::map<std::string, std::filesystem::path>& photos, const std::filesystem::path& list,
    const std::filesystem::path& folder);

}  // namespace macadam
