#include "loader/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "loader/dataset_file.h"
#include "loader/pack.h"
#include "loader/split_file.h"
#include "loader/split_list.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPhotoSuffix = "_leftImg8bit";
constexpr std::string_view kMaskSuffix = "_gtFine_labelIds";

constexpr std::string_view kTrainIdsSuffix = "_gtFine_labelTrainIds";

constexpr std::array<std::string_view, 1> kMaskExtensions{".png"};
/// What people keep masks in besides: named where a mask is missed.
constexpr std::array<std::string_view, 9> kOtherExtensions{".jpg", ".jpeg", ".bmp", ".tif", ".tiff",
                                                           ".gif", ".webp", ".npy", ".json"};

/// Files keyed by their path relative to a folder, without extension.
using KeyedFiles = std::map<std::string, fs::path>;

std::string key_of(const fs::path& path, const fs::path& folder) {
  return path.lexically_relative(folder).replace_extension().generic_string();
}

/// The files below `folder`, where there is one, with one of `extensions`; what cannot be used is
/// added to `unusable`.
KeyedFiles find_files(const fs::path& folder, std::span<const std::string_view> extensions,
                      std::vector<UnusableEntry>& unusable) {
  KeyedFiles files;
  if (!fs::is_directory(folder)) return files;
  FolderFiles found = files_below(folder, {extensions});
  for (const fs::path& path : found.files) {
    const auto [known, inserted] = files.emplace(key_of(path, folder), path);
    if (!inserted) {
      throw InputError("two photos of one name", known->second.string() + ", " + path.string(),
                       "keep one of them");
    }
  }
  std::ranges::move(found.unusable, std::back_inserter(unusable));
  return files;
}

/// "a_b_000123" -> "a_b": a frame number, with or without a letter before it, is cut off.
std::string sequence_of(std::string_view id) {
  const size_t cut = id.rfind('_');
  if (cut == std::string_view::npos || cut + 1 == id.size()) return {};
  std::string_view frame = id.substr(cut + 1);
  if (frame.size() > 1 && std::isalpha(static_cast<unsigned char>(frame[0]))) {
    frame.remove_prefix(1);
  }
  const bool number =
      std::all_of(frame.begin(), frame.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  return number ? std::string(id.substr(0, cut)) : std::string();
}

[[noreturn]] void throw_no_split(const fs::path& root, std::string_view split,
                                 const std::vector<std::string>& there) {
  throw InputError(fmt::format("data set has no split \"{}\"", split), root.string(),
                   there.empty() ? std::string("it has no split at all")
                                 : fmt::format("it has {}", fmt::join(there, ", ")));
}

constexpr std::array<std::string_view, 3> kUsualSplits{"train", "val", "test"};

/// Position of a split in lists: training, validation, test, then the others.
int rank_of(std::string_view split) {
  return static_cast<int>(std::ranges::find(kUsualSplits, split) - kUsualSplits.begin());
}

bool is_usual(std::string_view split) {
  return rank_of(split) < static_cast<int>(kUsualSplits.size());
}

/// Where a layout keeps the two halves of one split, and how their names correspond.
struct SplitFolders {
  fs::path images, masks;
  std::string_view photo_suffix, mask_suffix;  // ends of the stems
  fs::path list = {};                          // of the split's photos; empty: all of them
};

/// Keeps the files whose stem ends in `suffix`, and cuts it off the key.
KeyedFiles strip_suffix(KeyedFiles files, std::string_view suffix) {
  if (suffix.empty()) return files;
  KeyedFiles stripped;
  for (auto& [key, path] : files) {
    if (!key.ends_with(suffix)) continue;
    stripped.emplace(key.substr(0, key.size() - suffix.size()), std::move(path));
  }
  return stripped;
}

/// The files that may have been meant for masks, by their photos' keys: of another format, or of
/// Cityscapes' train ids.
KeyedFiles find_mistaken_masks(const SplitFolders& folders) {
  KeyedFiles mistaken;
  const auto add = [&](std::span<const std::string_view> extensions, std::string_view suffix) {
    for (const fs::path& path : files_below(folders.masks, {extensions}).files) {
      const std::string key = key_of(path, folders.masks);
      if (key.ends_with(suffix)) {
        mistaken.emplace(key.substr(0, key.size() - suffix.size()), path);
      }
    }
  };
  add(kOtherExtensions, folders.mask_suffix);
  if (folders.mask_suffix == kMaskSuffix) add(kMaskExtensions, kTrainIdsSuffix);
  return mistaken;
}

void pair_files(const SplitFolders& folders, SplitScan& scan) {
  auto photos = strip_suffix(find_files(folders.images, photo_extensions(), scan.unusable),
                             folders.photo_suffix);
  const bool listed = !folders.list.empty();
  if (listed) photos = listed_photos(photos, folders.list, folders.images);
  auto masks =
      strip_suffix(find_files(folders.masks, kMaskExtensions, scan.unusable), folders.mask_suffix);
  const bool city_folders = scan.dataset.layout == Layout::cityscapes;
  for (const auto& [key, photo] : photos) {
    Sample sample;
    // A Cityscapes name repeats its city, so the folder adds nothing.
    sample.id = city_folders ? fs::path(key).filename().string() : key;
    sample.image = photo;
    sample.sequence = sequence_of(sample.id);
    if (const auto mask = masks.find(key); mask != masks.end()) {
      sample.mask = mask->second;
      masks.erase(mask);
      scan.dataset.samples.push_back(std::move(sample));
    } else {
      sample.mask = folders.masks / (key + std::string(folders.mask_suffix) + ".png");
      scan.without_mask.push_back(std::move(sample));
    }
  }
  if (!listed) {  // or what is left belongs to other splits
    for (auto& [key, mask] : masks) scan.without_photo.push_back(std::move(mask));
  }
  if (scan.without_mask.empty() || !fs::is_directory(folders.masks)) return;
  const KeyedFiles mistaken = find_mistaken_masks(folders);
  for (Sample& sample : scan.without_mask) {
    const std::string expected = key_of(sample.mask, folders.masks);
    const auto found =
        mistaken.find(expected.substr(0, expected.size() - folders.mask_suffix.size()));
    if (found != mistaken.end()) sample.mask = found->second;
  }
}

/// Whether a folder holds photos of its own, not in subfolders.
bool has_photos(const fs::path& folder) {
  return fs::is_directory(folder) &&
         !files_below(folder, {.extensions = photo_extensions(), .recursive = false}).files.empty();
}

/// Where a plain data set has its photos unless dataset.toml says where.
fs::path image_folder(const fs::path& root) {
  return root / (fs::is_directory(root / "images") ? "images" : "JPEGImages");
}

/// The splits of a plain data set; kWholeSplit alone when its images are not divided.
std::map<std::string, SplitFolders> plain_splits(const fs::path& root) {
  std::map<std::string, SplitFolders> splits;
  const DatasetFile file = read_dataset_file(root);
  for (const auto& [name, folders] : file.splits) {
    splits[name] = {folders.images, folders.masks, {}, {}, folders.list};
  }
  if (!splits.empty()) return splits;
  const fs::path images = image_folder(root);
  const fs::path masks = root / (fs::is_directory(root / "masks") ? "masks" : "SegmentationClass");
  for (const auto& [name, list] : find_split_lists(root)) {
    splits[name] = {images, masks, {}, {}, list};
  }
  if (!splits.empty()) return splits;
  if (!has_photos(images)) {
    for (const std::string& name : folders_in(images)) {
      splits[name] = {images / name, masks / name, {}, {}};
    }
  }
  if (splits.empty()) splits[kWholeSplit] = {images, masks, {}, {}};
  return splits;
}

std::map<std::string, SplitFolders> find_splits(const fs::path& root, Layout layout) {
  std::map<std::string, SplitFolders> splits;
  switch (layout) {
    case Layout::cityscapes:
      for (const std::string& name : folders_in(root / "leftImg8bit")) {
        splits[name] = {root / "leftImg8bit" / name, root / "gtFine" / name, kPhotoSuffix,
                        kMaskSuffix};
      }
      break;
    case Layout::camvid:
      for (const std::string& name : folders_in(root)) {
        const fs::path masks = root / (name + "annot");
        if (fs::is_directory(masks)) splits[name] = {root / name, masks, {}, {}};
      }
      break;
    case Layout::plain: splits = plain_splits(root); break;
  }
  return splits;
}

/// Requires a pack.
SplitScan scan_pack(const fs::path& root, std::string_view name) {
  const auto pack = std::make_shared<const Pack>(root);
  const std::vector<PackSplit>& splits = pack->index().splits;
  const bool whole = splits.size() == 1 && splits.front().name == kWholeSplit;
  if (whole && is_usual(name)) name = kWholeSplit;
  const auto split = std::find_if(splits.begin(), splits.end(),
                                  [&](const PackSplit& s) { return s.name == name; });
  if (split == splits.end()) throw_no_split(root, name, list_splits(root));
  SplitScan scan;
  scan.dataset.name = pack->index().name;
  scan.dataset.layout = pack->index().layout;
  scan.dataset.root = root;
  scan.dataset.split = split->name;
  for (const PackRecord& record : split->records) {
    scan.dataset.samples.push_back(
        {record.id, record.image, record.mask, record.sequence, pack, &record});
  }
  return scan;
}

/// A split that photos of a division are taken from, by their ids.
struct WholeSplit {
  SplitScan scan;
  std::map<std::string, const Sample*, std::less<>> with_mask, without_mask;

  explicit WholeSplit(SplitScan found) : scan(std::move(found)) {
    for (const Sample& sample : scan.dataset.samples) with_mask.emplace(sample.id, &sample);
    for (const Sample& sample : scan.without_mask) without_mask.emplace(sample.id, &sample);
  }
  // The maps point into the scan.
  WholeSplit(const WholeSplit&) = delete;
  WholeSplit& operator=(const WholeSplit&) = delete;
};

}  // namespace

SplitScan scan_division(const SplitFile& file, const fs::path& path, std::string_view split) {
  const auto entries = file.splits.find(std::string(split));
  if (entries == file.splits.end()) {
    std::vector<std::string> names;
    for (const auto& [name, list] : file.splits) names.push_back(name);
    throw_no_split(path, split, names);
  }
  std::map<std::string, WholeSplit> wholes;
  std::set<std::string> ids;
  for (const SplitEntry& entry : entries->second) {
    ids.insert(entry.id);
    if (!wholes.contains(entry.split)) {
      wholes.try_emplace(entry.split, scan_split(file.dataset, entry.split));
    }
  }
  const bool unique = ids.size() == entries->second.size();
  SplitScan part;
  const Dataset& first = wholes.begin()->second.scan.dataset;
  part.dataset = {first.name, first.layout, first.root, std::string(split), {}, first.masks};
  for (const SplitEntry& entry : entries->second) {
    const WholeSplit& whole = wholes.at(entry.split);
    const auto labeled = whole.with_mask.find(entry.id);
    const auto lonely = whole.without_mask.find(entry.id);
    if (labeled == whole.with_mask.end() && lonely == whole.without_mask.end()) {
      throw InputError(fmt::format("photo \"{}\" is not in the split \"{}\" of {}", entry.id,
                                   entry.split, file.dataset.string()),
                       path.string(), "add it, or take it out of the file");
    }
    const bool has_mask = labeled != whole.with_mask.end();
    Sample sample = has_mask ? *labeled->second : *lonely->second;
    if (!unique) sample.id = entry.split + "/" + entry.id;
    (has_mask ? part.dataset.samples : part.without_mask).push_back(std::move(sample));
  }
  for (const auto& [name, whole] : wholes) {
    part.unusable.insert(part.unusable.end(), whole.scan.unusable.begin(),
                         whole.scan.unusable.end());
  }
  std::ranges::sort(part.dataset.samples, {}, &Sample::id);
  std::ranges::sort(part.without_mask, {}, &Sample::id);
  return part;
}

namespace {

/// What may be meant by the file in the place of a mask.
struct MissingMask {
  std::string what, remedy;
};

MissingMask explain_missing(const Sample& sample) {
  const std::string mask = sample.mask.string();
  if (sample.mask.stem().string().ends_with(kTrainIdsSuffix)) {
    return {fmt::format("photo without a mask of label ids ({} holds train ids)", mask),
            "add its *_gtFine_labelIds.png; label_set = \"trainids19\" makes train ids of them"};
  }
  const std::array<std::string_view, 2> jpeg{".jpg", ".jpeg"};
  if (has_extension(sample.mask, jpeg)) {
    return {fmt::format("photo without a PNG mask ({} is there; JPEG is lossy: its labels would "
                        "be wrong)",
                        mask),
            "save the mask as PNG from what it was made of"};
  }
  if (!has_extension(sample.mask, kMaskExtensions)) {
    return {fmt::format("photo without a PNG mask ({} is there)", mask),
            "save the class ids as an 8-bit greyscale PNG"};
  }
  return {fmt::format("photo without a mask (expected {})", mask),
          "add the mask, or remove the photo"};
}

}  // namespace

std::span<const std::string_view> photo_extensions() {
  static constexpr std::array<std::string_view, 4> kExtensions{".png", ".jpg", ".jpeg", ".bmp"};
  return kExtensions;
}

std::string name_missing_mask(const Sample& sample) { return explain_missing(sample).what; }

std::string_view name_of(Layout layout) {
  switch (layout) {
    case Layout::cityscapes: return "Cityscapes";
    case Layout::camvid: return "CamVid";
    case Layout::plain: return "plain";
  }
  return "";
}

Layout recognize_layout(const fs::path& root) {
  if (is_pack(root)) return Pack(root).index().layout;
  if (is_split_file(root)) return recognize_layout(read_split_file(root).dataset);
  if (!fs::is_directory(root)) {
    throw InputError(fs::exists(root) ? "a data set is a folder, this is a file"
                                      : "data set folder does not exist",
                     root.string(),
                     "give the path of the data set's folder, of a pack (*.pack), or of a division "
                     "(*.toml, of macadam split)");
  }
  const bool described = has_dataset_file(root), has_images = fs::is_directory(image_folder(root));
  if (described && (has_images || !read_dataset_file(root).splits.empty())) return Layout::plain;
  if (fs::is_directory(root / "leftImg8bit")) return Layout::cityscapes;
  for (const std::string& name : folders_in(root)) {
    if (fs::is_directory(root / (name + "annot"))) return Layout::camvid;
  }
  if (described) return Layout::plain;
  if (has_images) {
    throw InputError(fmt::format("no {} beside the photos", kDatasetFileName), root.string(),
                     "name the classes in one (docs/datasets.md)");
  }
  throw InputError("not a data set", root.string(),
                   "looked for dataset.toml with images/ and masks/, leftImg8bit/ and gtFine/ "
                   "(Cityscapes), train/ and trainannot/ (CamVid)");
}

IdSpace recognize_ids(const fs::path& root) {
  if (is_pack(root)) return ids_of(Pack(root).index().label_set.name);
  if (is_split_file(root)) return recognize_ids(read_split_file(root).dataset);
  const Layout layout = recognize_layout(root);
  if (has_dataset_file(root)) return read_dataset_file(root).ids;
  return layout == Layout::cityscapes ? IdSpace::cityscapes : IdSpace::camvid;
}

std::vector<std::string> list_splits(const fs::path& root) {
  std::vector<std::string> names;
  if (is_pack(root)) {
    const Pack pack(root);
    for (const PackSplit& split : pack.index().splits) names.push_back(split.name);
    return names;
  }
  if (is_split_file(root)) {
    for (const auto& [name, entries] : read_split_file(root).splits) names.push_back(name);
  } else {
    for (const auto& [name, folders] : find_splits(root, recognize_layout(root))) {
      names.push_back(name);
    }
  }
  std::stable_sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return rank_of(a) < rank_of(b);
  });
  return names;
}

bool is_unlabeled(const SplitScan& scan) {
  const std::string& split = scan.dataset.split;
  return scan.dataset.samples.empty() && !scan.without_mask.empty() && split != "train" &&
         split != "val" && split != kWholeSplit &&
         std::ranges::none_of(scan.without_mask,
                              [](const Sample& sample) { return fs::exists(sample.mask); });
}

SplitScan scan_split(const fs::path& root, std::string_view split) {
  if (is_pack(root)) return scan_pack(root, split);
  if (is_split_file(root)) return scan_division(read_split_file(root), root, split);
  SplitScan scan;
  Dataset& dataset = scan.dataset;
  dataset.root = root;
  dataset.layout = recognize_layout(root);
  if (has_dataset_file(root)) {
    DatasetFile file = read_dataset_file(root);
    dataset.name = std::move(file.name);
    dataset.masks = std::move(file.masks);
  } else {
    dataset.name = fs::weakly_canonical(root).filename().string();
  }
  const auto splits = find_splits(root, dataset.layout);
  const bool whole = splits.size() == 1 && splits.contains(kWholeSplit);
  const auto found = splits.find(whole && is_usual(split) ? kWholeSplit : std::string(split));
  if (found == splits.end()) {
    std::vector<std::string> names;
    names.reserve(splits.size());
    for (const auto& [name, folders] : splits) names.push_back(name);
    throw_no_split(root, split, names);
  }
  dataset.split = found->first;
  pair_files(found->second, scan);
  return scan;
}

Dataset open_dataset(const fs::path& root, std::string_view split) {
  SplitScan scan = scan_split(root, split);
  if (!scan.unusable.empty()) {
    const UnusableEntry& first = scan.unusable.front();
    throw InputError(first.what, first.path.string(), "mend or remove it");
  }
  if (!scan.without_mask.empty()) {
    const Sample& first = scan.without_mask.front();
    const MissingMask why = explain_missing(first);
    throw InputError(fmt::format("{} of {} photos have no mask: {}", scan.without_mask.size(),
                                 scan.without_mask.size() + scan.dataset.samples.size(), why.what),
                     first.image.string(), why.remedy);
  }
  if (scan.dataset.samples.empty()) {
    throw InputError(fmt::format("split \"{}\" is empty", scan.dataset.split), root.string(),
                     "no photo (.png, .jpg, .bmp) with a mask was found in it");
  }
  return std::move(scan.dataset);
}

}  // namespace macadam
