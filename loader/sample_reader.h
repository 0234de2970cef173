#pragma once
// One sample of a data set, from its files or its pack.

#include <cstdint>
#include <span>

#include "loader/dataset.h"
#include "loader/image.h"
#include "loader/label_set.h"

namespace macadam {

struct DecodedSample {
  Image photo;   // RGB
  Image labels;  // train labels, of the photo's size

  size_t bytes() const { return photo.pixels.size() + labels.pixels.size(); }
};

// Both functions throw InputError naming the file when it cannot be read, when the sizes of photo
// and mask differ, and for an unknown id; of a pack, for a damaged record and another label set.

/// The sample at height x width, into `image` (height x width x 3) and `labels` (height x width).
/// A JPEG comes reduced as far as the size allows, if `reduced_decoding`.
void load_sample(const Sample& sample, const MaskCoding& masks, const LabelSet& label_set,
                 int height, int width, bool reduced_decoding, std::span<uint8_t> image,
                 std::span<uint8_t> labels);

/// The sample at its own size.
DecodedSample read_sample(const Sample& sample, const MaskCoding& masks, const LabelSet& label_set);

}  // namespace macadam
