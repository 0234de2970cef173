#pragma once
// The door to stb_image; stb.cpp alone includes it.

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "image/image.h"

namespace macadam::stb {

struct Size {
  int height = 0, width = 0, channels = 0;
};

/// What a BMP header claims, also of rows from the top down; nothing when it cannot be read.
std::optional<Size> bmp_size(std::span<const uint8_t> bytes);

/// Decodes a BMP or PNG to 3 channels. No single block of more than `max_block` bytes is
/// allocated, so that a compressed stream longer than its header claims ends in a failure, not in
/// gigabytes. On failure the image is empty (height 0) and `why` says stb's reason.
Image decode_rgb(std::span<const uint8_t> bytes, size_t max_block, std::string& why);

}  // namespace macadam::stb
