#pragma once
// The pixels of a PNG: inflated, unfiltered and, for photos, made RGB.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "image/image.h"
#include "image/png.h"

namespace macadam {

/// Whether the functions below read such a file: 8 bits a sample, or a palette's 1 to 8, and not
/// interlaced. The rest (16 bits, grey of fewer than 8, interlaced) is stb_image's.
bool reads_png_pixels(const PngHeader& header);

/// RGB, whatever the colour type: grey is repeated, indices are looked up, transparency dropped.
/// Checksums are compared. Memory: what the header claims, and less when the file is too small for
/// it. Requires reads_png_pixels(header). Throws InputError naming `name`.
Image decode_png_rgb(std::span<const uint8_t> bytes, const PngHeader& header,
                     std::string_view name);

/// The grey values, or the indices of a palette as they stand in the file (the palette may even be
/// too short for them). Requires grey or palette of at most 8 bits, not interlaced.
Image decode_png_ids(std::span<const uint8_t> bytes, const PngHeader& header,
                     std::string_view name);

/// Grey values of 16 bits, row by row. Requires those, not interlaced.
std::vector<uint16_t> decode_png_gray16(std::span<const uint8_t> bytes, const PngHeader& header,
                                        std::string_view name);

}  // namespace macadam
