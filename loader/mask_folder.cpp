#include "loader/mask_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <string>

#include "base/error.h"
#include "base/folder.h"
#include "loader/pack.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 1> kExtensions{".png"};

/// PNGs by their names without extension.
using Names = std::multimap<std::string, fs::path>;

/// Where the masks lie: `macadam predict` has folders for other pictures beside them.
fs::path folder_of_masks(const fs::path& folder) {
  if (fs::exists(folder / "best.safetensors")) {
    throw InputError(
        "a run's folder is no folder of masks", folder.string(),
        fmt::format("to score its model, give {}", (folder / "best.safetensors").string()));
  }
  return holds_predictions(folder / "ids") ? folder / "ids" : folder;
}

Names find_names(const fs::path& folder) {
  const FolderFiles found = files_below(folder, {.extensions = kExtensions});
  if (!found.unusable.empty()) {
    const UnusableEntry& first = found.unusable.front();
    throw InputError(first.what, first.path.string(), "mend or remove it");
  }
  Names names;
  for (const fs::path& file : found.files) names.emplace(file.stem().string(), file);
  return names;
}

/// Whether the last parts of `file`, without its extension, are those of `id`.
bool ends_in(const fs::path& file, const fs::path& id) {
  const fs::path whole = fs::path(file).replace_extension();
  auto part = whole.end();
  for (auto wanted = id.end(); wanted != id.begin();) {
    if (part == whole.begin() || *--part != *--wanted) return false;
  }
  return true;
}

/// The files whose name, and as much of whose path as any has, is the photo's.
std::vector<fs::path> files_named(const Names& names, const std::string& id) {
  std::vector<fs::path> files;
  const auto [begin, end] = names.equal_range(fs::path(id).filename().string());
  for (auto name = begin; name != end; ++name) files.push_back(name->second);
  const auto whole = std::stable_partition(
      files.begin(), files.end(), [&](const fs::path& file) { return !ends_in(file, id); });
  if (whole != files.end()) files.erase(files.begin(), whole);
  return files;
}

/// Whether the photo's CITY_SEQUENCE_FRAME stands at `at` of a name, and is no part of a longer
/// word or number.
bool stands_at(std::string_view name, size_t at, std::string_view id) {
  const auto is = [&](size_t i, int (*kind)(int)) {
    return i < name.size() && kind(static_cast<unsigned char>(name[i])) != 0;
  };
  return (at == 0 || !is(at - 1, std::isalnum)) && !is(at + id.size(), std::isdigit);
}

/// The files whose names begin with the photo's CITY_SEQUENCE_FRAME, or else those that hold it.
std::vector<fs::path> files_of_frame(const Names& names, const std::string& id) {
  std::vector<fs::path> files;
  for (auto name = names.lower_bound(id); name != names.end() && name->first.starts_with(id);
       ++name) {
    if (stands_at(name->first, 0, id)) files.push_back(name->second);
  }
  if (!files.empty()) return files;
  for (const auto& [name, file] : names) {
    const size_t at = name.find(id);
    if (at != std::string::npos && stands_at(name, at, id)) files.push_back(file);
  }
  return files;
}

std::vector<fs::path> match(const fs::path& folder, const Dataset& dataset) {
  const Names names = find_names(folder);
  std::vector<fs::path> files;
  std::map<fs::path, const Sample*> owners;
  const Sample* without = nullptr;
  size_t missing = 0;
  for (const Sample& sample : dataset.samples) {
    std::vector<fs::path> found = dataset.layout == Layout::cityscapes
                                      ? files_of_frame(names, sample.id)
                                      : files_named(names, sample.id);
    if (found.empty()) {
      if (missing++ == 0) without = &sample;
      continue;
    }
    std::ranges::sort(found);
    if (found.size() > 1) {
      throw InputError(
          fmt::format("{} masks for one photo, {}", found.size(), sample.image.string()),
          found[0].string() + ", " + found[1].string(),
          "keep one of them, or give the folder that holds those of one kind alone");
    }
    const auto [owner, is_new] = owners.emplace(found[0], &sample);
    if (!is_new) {
      throw InputError(fmt::format("one mask for two photos, {} and {}",
                                   owner->second->image.string(), sample.image.string()),
                       found[0].string(), "keep the photos' folders in the masks' paths");
    }
    files.push_back(std::move(found[0]));
  }
  if (missing > 0) {
    throw InputError(fmt::format("{} of {} photos have no mask (*.png) in {}, of this one first",
                                 missing, dataset.samples.size(), folder.string()),
                     without->image.string(),
                     fmt::format("a mask has its photo's name: {}.png", without->id));
  }
  return files;
}

Image decode(const fs::path& file) {
  const ImageFile bytes(file);
  const std::string name = file.string();
  return probe_image(bytes.bytes(), name).palette ? decode_label_indices(bytes.bytes(), name)
                                                  : decode_labels(bytes.bytes(), name);
}

}  // namespace

MaskValues parse_mask_values(std::string_view text) {
  if (text == "dataset") return MaskValues::dataset;
  if (text == "classes") return MaskValues::classes;
  throw InputError(fmt::format("'{}' is no kind of values of a mask", text), "--ids",
                   "use dataset (its own ids) or classes (0 for the first class)");
}

MaskFolder::MaskFolder(const fs::path& folder, const Dataset& dataset, const LabelSet& labels,
                       MaskValues values)
    : files_(match(folder_of_masks(folder), dataset)), labels_(labels), values_(values) {
  class_of_.fill(kIgnore);
  id_of_.fill(kIgnore);
  if (values == MaskValues::dataset && !is_pack(dataset.root)) {
    class_of_ = labels.label_of_id;
    known_ = labels.known_id;
    for (size_t id = 0; id < id_of_.size(); ++id) id_of_[id] = static_cast<uint8_t>(id);
    return;
  }
  known_[kIgnore] = true;
  for (size_t c = 0; c < labels.file_ids.size(); ++c) {
    // A pack's label set maps the labels that it keeps; what is written for them stands beside.
    const size_t value = values == MaskValues::classes ? c : labels.file_ids[c];
    known_[value] = true;
    class_of_[value] = static_cast<uint8_t>(c);
    id_of_[value] = labels.file_ids[c];
  }
}

MaskFolder::Found MaskFolder::read(size_t index, int height, int width) const {
  const fs::path& file = files_.at(index);
  const Image mask = decode(file);
  if (mask.height != height || mask.width != width) {
    throw InputError(fmt::format("the mask has {} x {} pixels, the labels {} x {}", mask.width,
                                 mask.height, width, height),
                     file.string(), "write masks at the labels' size");
  }
  Found found{Image(height, width, 1), Image(height, width, 1)};
  for (size_t p = 0; p < mask.pixels.size(); ++p) {
    const uint8_t value = mask.pixels[p];
    if (!known_[value]) {
      const size_t y = p / to_size(width), x = p % to_size(width);
      throw InputError(
          fmt::format("the mask holds {} at x={}, y={}, which is no {} of {}", value, x, y,
                      values_ == MaskValues::classes ? "class" : "id", labels_.name),
          file.string(),
          values_ == MaskValues::classes
              ? fmt::format("its classes are 0 to {}; for the data set's own ids leave "
                            "--ids classes out",
                            labels_.classes() - 1)
              : "write the data set's own ids, or give --ids classes when the masks "
                "hold classes counted from 0");
    }
    found.classes.pixels[p] = class_of_[value];
    found.ids.pixels[p] = id_of_[value];
  }
  return found;
}

}  // namespace macadam
