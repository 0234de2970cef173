#include "loader/png.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "kernels/error.h"

namespace macadam {

namespace {

constexpr std::array<uint8_t, 8> kSignature{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
constexpr size_t kChunkOverhead = 12;  // length, type, checksum
constexpr size_t kHeaderEnd = kSignature.size() + kChunkOverhead + 13;

uint32_t big_endian(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
}

/// Slicing-by-8 tables: table[k][b] is the checksum of byte b followed by k zero bytes.
constexpr auto make_crc_tables() {
  std::array<std::array<uint32_t, 256>, 8> tables{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) ? 0xEDB88320u ^ (crc >> 1) : crc >> 1;
    tables[0][b] = crc;
  }
  for (size_t k = 1; k < tables.size(); ++k) {
    for (size_t b = 0; b < 256; ++b) {
      const uint32_t previous = tables[k - 1][b];
      tables[k][b] = tables[0][previous & 0xFF] ^ (previous >> 8);
    }
  }
  return tables;
}

constexpr auto kCrcTables = make_crc_tables();

[[noreturn]] void damaged(std::string_view what, std::string_view name) {
  throw InputError(what, name, "copy or download the file again");
}

}  // namespace

bool is_png(std::span<const uint8_t> bytes) {
  return bytes.size() >= kSignature.size() &&
         std::equal(kSignature.begin(), kSignature.end(), bytes.begin());
}

PngHeader read_png_header(std::span<const uint8_t> bytes, std::string_view name) {
  if (bytes.size() < kHeaderEnd) damaged("PNG file is truncated in its header", name);
  const uint8_t* chunk = bytes.data() + kSignature.size();
  if (big_endian(chunk) != 13 || std::memcmp(chunk + 4, "IHDR", 4) != 0) {
    damaged("PNG file does not begin with a header chunk", name);
  }
  const uint8_t* field = chunk + 8;
  const PngHeader header{big_endian(field), big_endian(field + 4), field[8],
                         static_cast<PngColor>(field[9])};
  const bool color_known = field[9] <= 6 && field[9] != 1 && field[9] != 5;
  if (header.width == 0 || header.height == 0 || !color_known) {
    damaged("PNG header is not valid", name);
  }
  return header;
}

void verify_png_chunks(std::span<const uint8_t> bytes, std::string_view name) {
  size_t begin = kSignature.size();
  while (true) {
    if (bytes.size() - begin < kChunkOverhead) damaged("PNG file is truncated", name);
    const size_t length = big_endian(bytes.data() + begin);
    if (bytes.size() - begin - kChunkOverhead < length) damaged("PNG file is truncated", name);
    const auto covered = bytes.subspan(begin + 4, 4 + length);
    if (crc32(covered) != big_endian(bytes.data() + begin + 8 + length)) {
      damaged(fmt::format("PNG file is damaged (checksum differs at byte {})", begin), name);
    }
    if (std::memcmp(covered.data(), "IEND", 4) == 0) return;
    begin += kChunkOverhead + length;
  }
}

uint32_t crc32(std::span<const uint8_t> bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  const uint8_t* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; left -= 8, p += 8) {
    crc ^= uint32_t{p[3]} << 24 | uint32_t{p[2]} << 16 | uint32_t{p[1]} << 8 | p[0];
    crc = kCrcTables[7][crc & 0xFF] ^ kCrcTables[6][crc >> 8 & 0xFF] ^
          kCrcTables[5][crc >> 16 & 0xFF] ^ kCrcTables[4][crc >> 24] ^ kCrcTables[3][p[4]] ^
          kCrcTables[2][p[5]] ^ kCrcTables[1][p[6]] ^ kCrcTables[0][p[7]];
  }
  for (; left > 0; --left, ++p) crc = kCrcTables[0][(crc ^ *p) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

}  // namespace macadam
