#pragma once
// Masks that some tool wrote for the photos of a data set: which file is whose, and what its values
// mean.

#include <array>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "image/image.h"
#include "loader/dataset.h"
#include "loader/label_set.h"

namespace macadam {

/// What the values of predicted masks are.
enum class MaskValues : uint8_t {
  dataset,  // the data set's own ids, as in its masks and in those of `macadam predict`
  classes,  // the classes of the label set, from 0; 255: none of them
};

/// "dataset" or "classes"; anything else is an InputError.
MaskValues parse_mask_values(std::string_view text);

/// The masks of one split.
class MaskFolder {
 public:
  /// Looks for the masks of `dataset` among the PNGs below `folder`, or below its ids/ where
  /// `macadam predict` wrote that. A mask has its photo's name, with the folders that make it
  /// unique in the split where there are such: "a/b.png" or "x/a/b.png" of the photo a/b.jpg, and
  /// "b.png" where no file has more of the path. For the layout of Cityscapes, as for its own
  /// script, any name that begins with the photo's CITY_SEQUENCE_FRAME. Throws InputError naming a
  /// photo that has no mask or several, a mask that is two photos', and an entry that cannot be
  /// read.
  MaskFolder(const std::filesystem::path& folder, const Dataset& dataset, const LabelSet& labels,
             MaskValues values);

  /// A mask of 1 channel and what it holds.
  struct Found {
    Image classes;  // kIgnore: none of the label set's
    Image ids;      // the data set's ids; kIgnore where none stands for the pixel
  };
  /// That of the data set's sample number `index`: a PNG of grey values or with a palette, whose
  /// indices count. Throws InputError naming the file when it cannot be read, has not height x
  /// width pixels, or holds a value that stands for nothing (naming its pixel).
  Found read(size_t index, int height, int width) const;

 private:
  std::vector<std::filesystem::path> files_;  // one a sample
  LabelSet labels_;
  MaskValues values_;
  std::array<uint8_t, 256> class_of_{}, id_of_{};  // of a value
  std::array<bool, 256> known_{};
};

}  // namespace macadam
