#pragma once
// The marker structure of a JPEG, which stb_image trusts too far: it copies Huffman tables without
// checking that they fit.
// Source: ITU-T T.81, annex B.

#include <cstdint>
#include <span>
#include <string_view>

namespace macadam {

/// Whether `bytes` begin with the markers of a JPEG.
bool is_jpeg(std::span<const uint8_t> bytes);

/// Walks the segments of all scans. Throws InputError naming `name` when a Huffman table describes
/// more codes than an 8-bit image can use, does not fill its segment, or is missing altogether.
void verify_jpeg_tables(std::span<const uint8_t> bytes, std::string_view name);

}  // namespace macadam
