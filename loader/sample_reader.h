#pragma once
// One sample of a data set, from its files or its pack.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "image/image.h"
#include "loader/augment/parameters.h"
#include "loader/dataset.h"
#include "loader/label_set.h"

namespace macadam {

struct DecodedSample {
  Image photo;   // RGB
  Image labels;  // train labels, of the photo's size

  size_t bytes() const { return photo.pixels.size() + labels.pixels.size(); }
};

// All that follows throws InputError naming the file when it cannot be read, when the sizes of
// photo and mask differ, and for an unknown id; of a pack, for a damaged record and another label
// set. `fault`: as in DecodeOptions.

/// The sample at height x width, into `image` (height x width x 3) and `labels` (height x width).
/// A JPEG comes reduced as far as the size allows, if `reduced_decoding`.
void load_sample(const Sample& sample, const MaskCoding& masks, const LabelSet& label_set,
                 int height, int width, bool reduced_decoding, std::span<uint8_t> image,
                 std::span<uint8_t> labels, std::string* fault = nullptr);

/// The sample at its own size.
DecodedSample read_sample(const Sample& sample, const MaskCoding& masks, const LabelSet& label_set,
                          std::string* fault = nullptr);

/// A sample whose labels keep their own size, while the photo may be asked for at any.
class StoredSample {
 public:
  /// `sample` outlives it.
  StoredSample(const Sample& sample, const MaskCoding& masks, const LabelSet& label_set);

  /// Train labels, at the size of the mask file; of a pack, at the size that it was packed at.
  const Image& labels() const { return labels_; }
  /// The ids that the mask file holds. Empty (height 0) for a pack, which keeps train labels alone.
  const Image& ids() const { return ids_; }
  /// The photo at each of the sizes as load_sample makes it with reduced decoding; at labels()'
  /// size it is the photo itself. It is decoded once, but a JPEG once for each reduction.
  std::vector<Image> photos_at(std::span<const ImageSize> sizes,
                               std::string* fault = nullptr) const;

 private:
  const Sample& sample_;
  Image labels_, ids_;
  ImageInfo info_;                    // of the photo
  std::unique_ptr<ImageFile> photo_;  // null for a pack
};

}  // namespace macadam
