#pragma once
// Greyscale PNGs of up to 16 bits: numbers of instances rather than pictures.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "image/image.h"

namespace macadam {

/// Rows of grey values, top to bottom: pixel (y, x) is number y * width + x.
struct Gray16 {
  int height = 0, width = 0;
  std::vector<uint16_t> pixels;
};

/// Decodes a greyscale PNG of 1 to 16 bits, whose values are taken as stored. Throws InputError
/// naming `name` when it is damaged, larger than `limits`, interlaced, or no such file.
Gray16 decode_gray16(std::span<const uint8_t> bytes, std::string_view name,
                     const ImageLimits& limits = {});
Gray16 read_gray16(const std::filesystem::path& path, const ImageLimits& limits = {});

}  // namespace macadam
