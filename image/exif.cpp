#include "image/exif.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "base/error.h"

namespace macadam {

namespace {

constexpr int kUpright = 1;

/// A TIFF block in the byte order that it names. Whatever lies outside reads as 0, which no field
/// below accepts.
class TiffBlock {
 public:
  explicit TiffBlock(std::span<const uint8_t> bytes)
      : bytes_(bytes), little_endian_(!bytes.empty() && bytes[0] == 'I') {}

  uint32_t number(size_t at, size_t size) const {
    if (at > bytes_.size() || bytes_.size() - at < size) return 0;
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      value = value << 8 | bytes_[at + (little_endian_ ? size - 1 - i : i)];
    }
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
  bool little_endian_;
};

/// The orientation in the first directory of a TIFF block.
int tiff_orientation(std::span<const uint8_t> bytes) {
  constexpr uint32_t kMagic = 42, kOrientationTag = 0x0112, kShort = 3;
  constexpr size_t kEntryBytes = 12;
  const TiffBlock block(bytes);
  const bool order_named =
      bytes.size() >= 2 && bytes[0] == bytes[1] && (bytes[0] == 'I' || bytes[0] == 'M');
  if (!order_named || block.number(2, 2) != kMagic) return kUpright;
  const size_t directory = block.number(4, 4);
  const size_t entries = block.number(directory, 2);  // at most 65,535
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * kEntryBytes;
    if (block.number(entry, 2) != kOrientationTag) continue;
    const uint32_t value = block.number(entry + 8, 2);
    const bool valid = block.number(entry + 2, 2) == kShort && block.number(entry + 4, 4) == 1 &&
                       value >= 1 && value <= 8;
    return valid ? static_cast<int>(value) : kUpright;
  }
  return kUpright;
}

}  // namespace

int exif_orientation(std::span<const uint8_t> jpeg) {
  constexpr uint8_t kApp1 = 0xE1, kStartOfScan = 0xDA, kEndOfImage = 0xD9;
  constexpr std::array<uint8_t, 6> kExif{'E', 'x', 'i', 'f', 0, 0};
  size_t at = 2;  // behind the start of the image
  while (at + 4 <= jpeg.size() && jpeg[at] == 0xFF) {
    const uint8_t marker = jpeg[at + 1];
    if (marker == 0xFF) {  // padding
      ++at;
      continue;
    }
    if (marker == kStartOfScan || marker == kEndOfImage) break;
    const size_t length = size_t{jpeg[at + 2]} << 8 | jpeg[at + 3];
    if (length < 2 || jpeg.size() - at - 2 < length) break;
    const auto segment = jpeg.subspan(at + 4, length - 2);
    if (marker == kApp1 && segment.size() >= kExif.size() &&
        std::equal(kExif.begin(), kExif.end(), segment.begin())) {
      return tiff_orientation(segment.subspan(kExif.size()));
    }
    at += 2 + length;
  }
  return kUpright;
}

Image upright(Image image, int orientation) {
  require(orientation >= 1 && orientation <= 8, "EXIF numbers orientations from 1 to 8");
  if (orientation == kUpright) return image;
  // Row y of the result is row y of the image, or its column y where the sides are swapped, read
  // from the far end where rows or columns are mirrored.
  const bool swapped = swaps_sides(orientation);
  const bool rows_mirrored =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool columns_mirrored =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const ptrdiff_t channels = image.channels, row_size = channels * image.width;
  const ptrdiff_t next_row = rows_mirrored ? -row_size : row_size;
  const ptrdiff_t next_column = columns_mirrored ? -channels : channels;
  const uint8_t* first =
      image.at(rows_mirrored ? image.height - 1 : 0, columns_mirrored ? image.width - 1 : 0);
  Image result(swapped ? image.width : image.height, swapped ? image.height : image.width,
               image.channels);
  for (int y = 0; y < result.height; ++y) {
    const uint8_t* in = first + y * (swapped ? next_column : next_row);
    const ptrdiff_t step = swapped ? next_row : next_column;
    uint8_t* out = result.at(y, 0);
    for (int x = 0; x < result.width; ++x, in += step) {
      for (ptrdiff_t c = 0; c < channels; ++c) *out++ = in[c];
    }
  }
  return result;
}

}  // namespace macadam
