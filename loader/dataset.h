#pragma once
// A data set on disk: which photo belongs to which mask. Layouts and packs: docs/datasets.md.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/folder.h"
#include "loader/mask.h"

namespace macadam {

class Pack;
struct PackRecord;
struct SplitFile;

enum class Layout : uint8_t {
  cityscapes,  // leftImg8bit/SPLIT/CITY/*_leftImg8bit.png, gtFine/SPLIT/CITY/*_gtFine_labelIds.png
  camvid,      // SPLIT/*.png, SPLITannot/*.png
  plain,       // dataset.toml; images/[SPLIT/]**, masks/[SPLIT/]**, or what that file names, or
               // JPEGImages/, SegmentationClass/ and the lists of ImageSets/ (VOC)
};

/// "Cityscapes", "CamVid", "plain".
std::string_view name_of(Layout layout);

struct Sample {
  std::string id;  // unique in its split; names output files
  std::filesystem::path image, mask;
  std::string sequence;  // the video it was taken from; empty when the name does not say

  /// Where it lies when the data set is a pack (loader/pack.h); `image` and `mask` then name what
  /// it was made from.
  std::shared_ptr<const Pack> pack;
  const PackRecord* record = nullptr;  // of `pack`
};

/// The name of the only split of a plain data set without split folders.
inline constexpr const char* kWholeSplit = "all";

struct Dataset {
  std::string name;  // the folder's, or dataset.toml's
  Layout layout = Layout::plain;
  std::filesystem::path root;  // the folder or pack that the files are of
  std::string split;           // kWholeSplit when the data set is not divided
  std::vector<Sample> samples;
  MaskCoding masks;  // other than ids only where dataset.toml says so
};

// A data set's `root` is a folder, a pack (a file *.pack), or a division of a folder's photos (a
// file
// *.toml: loader/split_file.h). A file that cannot be read or is damaged is an InputError in all
// functions below.

/// Recognises the layout of the folder `root`, or that a pack was made from. Throws InputError that
/// says what was looked for.
Layout recognize_layout(const std::filesystem::path& root);

/// What the ids in the masks of `root` mean: what its dataset.toml says, or else the layout. Of a
/// pack, the ids that it was made from. Throws InputError as recognize_layout does.
IdSpace recognize_ids(const std::filesystem::path& root);

/// The splits that are there, "train", "val" and "test" first, then by name.
std::vector<std::string> list_splits(const std::filesystem::path& root);

/// The names that photos end in: ".png", ".jpg", ".jpeg", ".bmp", in any case.
std::span<const std::string_view> photo_extensions();

/// One split as found: complete samples, and what lacks a partner. All sorted by id.
struct SplitScan {
  Dataset dataset;
  /// `mask`: where it was expected, or a file that was taken for one: of another format, or of
  /// Cityscapes' train ids.
  std::vector<Sample> without_mask;
  std::vector<std::filesystem::path> without_photo;
  std::vector<UnusableEntry> unusable;  // dead links, devices and the like
};

/// One of `without_mask` in words, naming the mask and what is wrong with the file there.
std::string name_missing_mask(const Sample& sample);

/// Whether a split is one of photos alone, to be predicted: none has a mask or what was taken for
/// one, and neither training nor validation needs it.
bool is_unlabeled(const SplitScan& scan);

/// Looks for the photos and masks of `split`. A plain data set that is not divided is returned
/// whole as "train", "val", "test" and kWholeSplit. Of a division, the photos that it lists for the
/// split; where two of them have one id, ids begin with the split that they are of. Throws
/// InputError when `root` is not a data set, has no such split, or lists a photo for it that is not
/// there.
SplitScan scan_split(const std::filesystem::path& root, std::string_view split);

/// The same of a division that was or will be written to `path`.
SplitScan scan_division(const SplitFile& file, const std::filesystem::path& path,
                        std::string_view split);

/// The samples of `split`, sorted by id. Throws InputError as scan_split does, when an entry cannot
/// be used, when a photo has no mask (naming both), and when the split is empty.
Dataset open_dataset(const std::filesystem::path& root, std::string_view split);

}  // namespace macadam
