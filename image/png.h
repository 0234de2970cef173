#pragma once
// The chunk structure of a PNG: header, checksums, and where the compressed pixels lie.
// Source: PNG specification (W3C, third edition), sections 5 and 11.2.

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace macadam {

enum class PngColor : uint8_t { gray = 0, rgb = 2, palette = 3, gray_alpha = 4, rgba = 6 };

/// What stands before a row (table 9.1).
enum class PngFilter : uint8_t { none = 0, sub = 1, up = 2, average = 3, paeth = 4 };

struct PngHeader {
  uint32_t width = 0, height = 0;
  int bits = 0;  // a sample: 1, 2, 4, 8 or 16, as the colour type allows
  PngColor color = PngColor::gray;
  bool interlaced = false;

  /// Samples a pixel; an index of a palette is one.
  int samples() const;
};

/// What of a PNG's chunks pixels are decoded from; views of the file's bytes.
struct PngChunks {
  std::vector<std::span<const uint8_t>> data;  // the zlib stream, in pieces
  std::span<const uint8_t> palette;            // RGB triples; empty when there is none
};

inline constexpr std::array<uint8_t, 8> kPngSignature{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

/// Whether `bytes` begin with the PNG signature.
bool is_png(std::span<const uint8_t> bytes);

/// Reads the IHDR chunk. Throws InputError naming `name` when it is not there or not valid.
PngHeader read_png_header(std::span<const uint8_t> bytes, std::string_view name);

/// Walks the chunks to IEND and compares their checksums. Requires a valid header. Throws
/// InputError naming `name` when the file ends early, a chunk's bytes have changed, or a chunk
/// without which the image cannot be understood is unknown or misplaced.
PngChunks read_png_chunks(std::span<const uint8_t> bytes, std::string_view name);

}  // namespace macadam
