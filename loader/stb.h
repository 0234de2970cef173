#pragma once
// The door to stb_image and stb_image_write; stb.cpp alone includes them.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "loader/image.h"

namespace macadam::stb {

struct Size {
  int height = 0, width = 0, channels = 0;
};

/// What a JPEG or BMP header claims; nothing when it cannot be read.
std::optional<Size> info(std::span<const uint8_t> bytes);

/// Decodes to `channels` 8-bit channels. No single block of more than `max_block` bytes is
/// allocated, so that a compressed stream longer than its header claims ends in a failure, not in
/// gigabytes. On failure the image is empty (height 0) and `why` says stb's reason.
Image decode(std::span<const uint8_t> bytes, int channels, size_t max_block, std::string& why);

/// Empty when there is not enough memory.
std::vector<uint8_t> encode_png(const Image& image);

}  // namespace macadam::stb
