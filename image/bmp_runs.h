#pragma once
// BMPs whose pixels are run lengths (BI_RLE8 and BI_RLE4), which stb_image does not read.
// Source: Microsoft, "Bitmap Compression" and the structures BITMAPFILEHEADER, BITMAPINFOHEADER.

#include <cstdint>
#include <span>
#include <string_view>

#include "image/image.h"

namespace macadam {

/// Whether `bytes`, which begin as a BMP, name one of the two codings.
bool has_bmp_runs(std::span<const uint8_t> bytes);

struct BmpRunsHeader {
  int height = 0, width = 0;  // positive
  int bits = 8;               // an index of the palette: 8 or 4
};

/// Throws InputError naming `name` when it is cut off or not valid. Requires has_bmp_runs.
BmpRunsHeader read_bmp_runs_header(std::span<const uint8_t> bytes, std::string_view name);

/// The pixels as RGB; those that the file passes over have the palette's first colour. Throws
/// InputError naming `name` when the runs leave the image, end too early or name a colour that the
/// palette does not have. Requires has_bmp_runs.
Image decode_bmp_runs(std::span<const uint8_t> bytes, std::string_view name);

}  // namespace macadam
