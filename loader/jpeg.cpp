#include "loader/jpeg.h"

#include <fmt/format.h>

#include <numeric>

#include "kernels/error.h"

namespace macadam {

namespace {

constexpr uint8_t kHuffmanTables = 0xC4, kEndOfImage = 0xD9, kStartOfScan = 0xDA;

/// A marker that no length follows: the start, restarts within a scan, and TEM.
bool stands_alone(uint8_t marker) { return (marker >= 0xD0 && marker <= 0xD8) || marker == 0x01; }

/// The tables of one segment: class and index in a byte, 16 counts of codes, their values.
bool tables_fit(std::span<const uint8_t> segment) {
  // 16 runs times 10 sizes and 16 special codes are all that 8-bit images can use; stb_image reads
  // past its tables from the 256th on.
  constexpr size_t kCounts = 16, kMaxCodes = 255;
  while (!segment.empty()) {
    if (segment.size() < 1 + kCounts) return false;
    const auto counts = segment.subspan(1, kCounts);
    const size_t codes = std::accumulate(counts.begin(), counts.end(), size_t{0});
    if (codes > kMaxCodes || segment.size() < 1 + kCounts + codes) return false;
    segment = segment.subspan(1 + kCounts + codes);
  }
  return true;
}

[[noreturn]] void damaged(std::string_view why, std::string_view name) {
  throw InputError(fmt::format("JPEG file is damaged ({})", why), name,
                   "copy or download the file again");
}

}  // namespace

bool is_jpeg(std::span<const uint8_t> bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF;
}

void verify_jpeg_tables(std::span<const uint8_t> bytes, std::string_view name) {
  // Whatever lies between segments is passed over up to the next marker: padding, and the coded
  // data of a scan, where a byte of 255 is followed by 0 or a restart.
  bool has_tables = false;
  size_t at = 2;
  while (at + 3 < bytes.size()) {
    const uint8_t marker = bytes[at + 1];
    if (bytes[at] != 0xFF || marker == 0xFF || marker == 0) {
      ++at;
      continue;
    }
    if (marker == kEndOfImage) return;
    if (stands_alone(marker)) {
      at += 2;
      continue;
    }
    const size_t length = static_cast<size_t>(bytes[at + 2]) << 8 | bytes[at + 3];
    if (marker == kHuffmanTables) {
      const size_t end = at + 2 + length;
      if (length < 2 || end > bytes.size() || !tables_fit(bytes.subspan(at + 4, length - 2))) {
        damaged("a Huffman table is not valid", name);
      }
      has_tables = true;
    }
    if (marker == kStartOfScan && !has_tables) damaged("it has no Huffman table", name);
    at += 2 + length;
  }
}

}  // namespace macadam
