// Writing PNGs: encode_png of image/image.h.

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/to_size.h"
#include "image/deflate.h"
#include "image/filter.h"
#include "image/image.h"
#include "image/png.h"

namespace macadam {

namespace {

constexpr size_t kLength = 4, kType = 4, kChecksum = 4, kHeaderData = 13;

void store(uint32_t value, uint8_t* to) {
  for (int i = 3; i >= 0; --i, value >>= 8) to[i] = static_cast<uint8_t>(value);
}

/// Puts length, type and checksum around the `length` bytes of data that lie behind room for the
/// first two. Returns the chunk's end.
uint8_t* finish_chunk(uint8_t* chunk, std::string_view type, size_t length) {
  store(static_cast<uint32_t>(length), chunk);
  std::copy(type.begin(), type.end(), chunk + kLength);
  uint8_t* const end = chunk + kLength + kType + length;
  store(crc32({chunk + kLength, end}), end);
  return end + kChecksum;
}

PngColor color_of(int channels) {
  switch (channels) {
    case 1: return PngColor::gray;
    case 3: return PngColor::rgb;
    case 4: return PngColor::rgba;
    default: break;
  }
  require(false, "a PNG has 1, 3 or 4 channels");
  return {};
}

/// Photos are noise to a compressor, however long it looks; masks are not, and the fast matcher of
/// level 1 is the slowest for them.
int level_for(uint64_t magnitudes, size_t bytes) {
  constexpr int kFast = 1, kThorough = 4;
  return magnitudes < bytes / 2 ? kThorough : kFast;
}

/// A PNG of that color type; the palette is empty but for PngColor::palette.
std::vector<uint8_t> encode(const Image& image, PngColor color, std::span<const Rgb> palette) {
  require(image.height > 0 && image.width > 0, "the image is not empty");
  const auto rows = to_size(image.height);
  const size_t row_bytes = to_size(image.width) * to_size(image.channels);
  std::vector<uint8_t> filtered(rows * (row_bytes + 1));
  const uint64_t magnitudes = filter_rows(image.pixels, rows, row_bytes, image.channels, filtered);

  constexpr size_t kFrame = kLength + kType + kChecksum;
  const size_t bound = deflate_bound(filtered.size());
  require(bound < size_t{1} << 31, "the pixels fit into a chunk");
  const size_t palette_bytes = 3 * palette.size();
  std::vector<uint8_t> file(kPngSignature.size() + 4 * kFrame + kHeaderData + palette_bytes +
                            bound);
  uint8_t* chunk = std::copy(kPngSignature.begin(), kPngSignature.end(), file.data());
  uint8_t* const header = chunk + kLength + kType;
  store(static_cast<uint32_t>(image.width), header);
  store(static_cast<uint32_t>(image.height), header + 4);
  header[8] = 8;  // bits a sample; what follows the colour is 0: deflate, filters, not interlaced
  header[9] = static_cast<uint8_t>(color);
  chunk = finish_chunk(chunk, "IHDR", kHeaderData);
  if (!palette.empty()) {
    uint8_t* entry = chunk + kLength + kType;
    for (const Rgb& rgb : palette) entry = std::ranges::copy(rgb, entry).out;
    chunk = finish_chunk(chunk, "PLTE", palette_bytes);
  }
  const size_t size = deflate_zlib(filtered, level_for(magnitudes, filtered.size()),
                                   {chunk + kLength + kType, bound});
  chunk = finish_chunk(chunk, "IDAT", size);
  chunk = finish_chunk(chunk, "IEND", 0);
  file.resize(to_size(chunk - file.data()));
  return file;
}

}  // namespace

std::vector<uint8_t> encode_png(const Image& image) {
  return encode(image, color_of(image.channels), {});
}

std::vector<uint8_t> encode_png(const Image& indices, std::span<const Rgb> palette) {
  require(indices.channels == 1, "indices have 1 channel");
  require(!palette.empty() && palette.size() <= 256, "a palette has 1 to 256 colors");
  require(std::ranges::all_of(indices.pixels, [&](uint8_t i) { return i < palette.size(); }),
          "the palette has the color of each index");
  return encode(indices, PngColor::palette, palette);
}

}  // namespace macadam
