#include "image/png.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "image/deflate.h"

namespace macadam {

namespace {

constexpr size_t kHeaderData = 13;
constexpr size_t kChunkOverhead = 12;  // length, type, checksum
constexpr size_t kHeaderEnd = kPngSignature.size() + kChunkOverhead + kHeaderData;

constexpr uint32_t type_code(std::string_view name) {
  uint32_t code = 0;
  for (const char letter : name) code = code << 8 | static_cast<uint8_t>(letter);
  return code;
}

constexpr uint32_t kHeader = type_code("IHDR"), kPalette = type_code("PLTE"),
                   kData = type_code("IDAT"), kEnd = type_code("IEND");
constexpr uint32_t kAncillary = 0x20000000;  // a small first letter: may be passed over

uint32_t big_endian(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
}

/// Which depths each colour type allows (table 11.1).
bool depth_allowed(uint8_t color, int bits) {
  switch (color) {
    case 0: return bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16;
    case 3: return bits == 1 || bits == 2 || bits == 4 || bits == 8;
    case 2:
    case 4:
    case 6: return bits == 8 || bits == 16;
    default: return false;
  }
}

[[noreturn]] void damaged(std::string_view what, std::string_view name) {
  throw InputError(what, name, "copy or download the file again");
}

}  // namespace

int PngHeader::samples() const {
  switch (color) {
    case PngColor::gray:
    case PngColor::palette: return 1;
    case PngColor::gray_alpha: return 2;
    case PngColor::rgb: return 3;
    case PngColor::rgba: return 4;
  }
  return 0;
}

bool is_png(std::span<const uint8_t> bytes) {
  return bytes.size() >= kPngSignature.size() &&
         std::equal(kPngSignature.begin(), kPngSignature.end(), bytes.begin());
}

PngHeader read_png_header(std::span<const uint8_t> bytes, std::string_view name) {
  if (bytes.size() < kHeaderEnd) damaged("PNG file is truncated in its header", name);
  const uint8_t* chunk = bytes.data() + kPngSignature.size();
  if (big_endian(chunk) != kHeaderData || big_endian(chunk + 4) != kHeader) {
    damaged("PNG file does not begin with a header chunk", name);
  }
  const uint8_t* field = chunk + 8;
  const uint8_t color = field[9], compression = field[10], filter = field[11];
  const uint8_t interlace = field[12];
  const PngHeader header{big_endian(field), big_endian(field + 4), field[8],
                         static_cast<PngColor>(color), interlace == 1};
  if (header.width == 0 || header.height == 0 || !depth_allowed(color, header.bits) ||
      compression != 0 || filter != 0 || interlace > 1) {
    damaged("PNG header is not valid", name);
  }
  return header;
}

PngChunks read_png_chunks(std::span<const uint8_t> bytes, std::string_view name) {
  PngChunks chunks;
  size_t begin = kPngSignature.size();
  while (true) {
    if (bytes.size() - begin < kChunkOverhead) damaged("PNG file is truncated", name);
    const size_t length = big_endian(bytes.data() + begin);
    if (bytes.size() - begin - kChunkOverhead < length) damaged("PNG file is truncated", name);
    const auto covered = bytes.subspan(begin + 4, 4 + length);
    if (crc32(covered) != big_endian(bytes.data() + begin + 8 + length)) {
      damaged(fmt::format("PNG file is damaged (checksum differs at byte {})", begin), name);
    }
    const uint32_t type = big_endian(covered.data());
    const auto data = covered.subspan(4);
    if (type == kEnd) break;
    if (type == kData) {
      chunks.data.push_back(data);
    } else if (type == kPalette) {
      if (!chunks.palette.empty() || !chunks.data.empty() || length == 0 || length % 3 != 0 ||
          length > size_t{3} * 256) {
        damaged("PNG file is damaged (palette)", name);
      }
      chunks.palette = data;
    } else if (!(type & kAncillary) && (type != kHeader || begin != kPngSignature.size())) {
      damaged(fmt::format("PNG file is damaged (unexpected chunk at byte {})", begin), name);
    }
    begin += kChunkOverhead + length;
  }
  if (chunks.data.empty()) damaged("PNG file holds no pixels", name);
  return chunks;
}

}  // namespace macadam
