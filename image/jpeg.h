#pragma once
// The door to libjpeg-turbo; jpeg.cpp alone includes it.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "image/image.h"

namespace macadam {

struct JpegHeader {
  int height = 0, width = 0;  // as stored
  int channels = 0;
};

/// Whether `bytes` begin with the markers of a JPEG.
bool is_jpeg(std::span<const uint8_t> bytes);

/// Reads all up to the first scan. Throws InputError naming `name` when a part of it is missing or
/// not valid.
JpegHeader read_jpeg_header(std::span<const uint8_t> bytes, std::string_view name);

/// Decodes grey, YCbCr, RGB, CMYK and YCCK, baseline or progressive, to RGB as it is stored (not
/// turned upright), each side divided by `reduction` (1, 2, 4 or 8) and rounded up. CMYK becomes
/// (255 - ink) * (255 - black) / 255, without regard to colour profiles. `oddity` becomes libjpeg's
/// first warning about something that costs no pixel (stray bytes, no end marker, a version
/// number), empty if there was none. Throws InputError naming `name` for its other warnings, which
/// mean missing or damaged pixels, and for errors.
Image decode_jpeg(std::span<const uint8_t> bytes, int reduction, std::string_view name,
                  std::string& oddity);

}  // namespace macadam
