#pragma once
// The photos of a data set, by names that are safe in a URL: looked up in a table that is made
// once, never joined to a path.

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "image/image.h"
#include "loader/dataset.h"
#include "run/photo.h"

namespace macadam {

struct GalleryItem {
  std::string id;  // "val.frankfurt_000000_000294": letters, digits, '.', '_', '-'
  std::string split;
  bool labeled = false;
  Sample sample;
  std::string pack_tag;  // of the pack as it was opened, which is what is shown; of files empty
};

/// A photo as a file.
struct PhotoFile {
  std::string content_type, bytes;
};

class Gallery {
 public:
  /// Finds the photos of all splits. What leads out of the data set's folder is left out, and
  /// counted. Throws InputError when it is not a data set, or has no photos.
  explicit Gallery(const std::filesystem::path& root);

  const std::string& name() const { return name_; }
  const std::filesystem::path& root() const { return root_; }
  const std::vector<std::string>& splits() const { return splits_; }
  size_t left_out() const { return left_out_; }
  /// Sorted by split and name.
  const std::vector<GalleryItem>& items() const { return items_; }
  /// Null when there is none of this name.
  const GalleryItem* find(std::string_view id) const;

  // Changes with what is on the disk now: for ETag. Both look at files.

  /// With the photo.
  static std::string photo_tag(const GalleryItem& item);
  /// With the photo, and where it has one its mask and what the ids in that mean.
  std::string tag(const GalleryItem& item) const;

  // These throw InputError when a file cannot be read.

  /// The photo's own bytes; of a pack, a PNG.
  static PhotoFile file(const GalleryItem& item);
  static Image photo(const GalleryItem& item, const DecodeOptions& options,
                     const ImageLimits& limits);
  static DecodedPhoto decode(const GalleryItem& item, const PhotoUse& use,
                             const ImageLimits& limits);
  /// The mask as numbers of the model's classes, 255 where it has none. Requires a labelled item.
  Image labels(const GalleryItem& item, const ModelInfo& model) const;

 private:
  void add(const std::string& split, const Sample& sample, bool labeled);

  std::filesystem::path root_, real_root_;
  std::string name_;
  MaskCoding masks_;
  std::vector<std::string> splits_;
  std::vector<GalleryItem> items_;
  std::map<std::string, size_t, std::less<>> places_;  // of ids, in items_
  size_t left_out_ = 0;
};

}  // namespace macadam
