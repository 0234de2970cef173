#pragma once
// The chunk structure of a PNG, which stb_image does not verify.
// Source: PNG specification (W3C, third edition), sections 5 and 11.2.

#include <cstdint>
#include <span>
#include <string_view>

namespace macadam {

enum class PngColor : uint8_t { grey = 0, rgb = 2, palette = 3, grey_alpha = 4, rgba = 6 };

struct PngHeader {
  uint32_t width = 0, height = 0;
  int bits = 0;
  PngColor color = PngColor::grey;
};

/// Whether `bytes` begin with the PNG signature.
bool is_png(std::span<const uint8_t> bytes);

/// Reads the IHDR chunk. Throws InputError naming `name` when it is not there or not valid.
PngHeader read_png_header(std::span<const uint8_t> bytes, std::string_view name);

/// Walks the chunks to IEND and compares their checksums. Throws InputError naming `name` when the
/// file ends early or a chunk's bytes have changed.
void verify_png_chunks(std::span<const uint8_t> bytes, std::string_view name);

/// CRC-32 of PNG and zlib (polynomial 0xEDB88320).
uint32_t crc32(std::span<const uint8_t> bytes);

}  // namespace macadam
