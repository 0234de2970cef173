#pragma once
// Mask files as a data set keeps them: class ids as grey values, as the indices of a palette, or
// as colours.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "base/rgb.h"
#include "image/image.h"
#include "loader/label_set.h"

namespace macadam {

enum class MaskFormat : uint8_t {
  ids,      // a greyscale PNG of ids (decode_labels)
  indices,  // a PNG with a palette, whose indices are the ids
  colors,   // a PNG of colours, each of which stands for an id
};

/// How the masks of a data set are to be read.
struct MaskCoding {
  struct Entry {
    Rgb color{};
    uint8_t id = 0;
  };
  MaskFormat format = MaskFormat::ids;
  std::vector<Entry> colors;  // for MaskFormat::colors; no colour twice
};

/// The ids of a mask, 1 channel. Throws InputError naming `name` when it cannot be read, is not
/// stored as `coding` says (and what may have been meant), or has a colour that stands for no id
/// (naming colour and pixel).
Image decode_mask(std::span<const uint8_t> bytes, std::string_view name, const MaskCoding& coding,
                  const ImageLimits& limits = {});
Image read_mask(const std::filesystem::path& path, const MaskCoding& coding,
                const ImageLimits& limits = {});

}  // namespace macadam
