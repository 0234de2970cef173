#include "image/bmp_runs.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

constexpr size_t kFileHeader = 14, kInfoHeader = 40;
constexpr uint32_t kRuns8 = 1, kRuns4 = 2;

uint32_t little_endian(std::span<const uint8_t> bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = count; i-- > 0;) value = value << 8 | (at + i < bytes.size() ? bytes[at + i] : 0);
  return value;
}

[[noreturn]] void damaged(std::string_view what, std::string_view name) {
  throw InputError(what, name, "copy or download the file again");
}

/// The codes of an image one after the other, and where they lead.
class RunReader {
 public:
  RunReader(std::span<const uint8_t> codes, const BmpRunsHeader& header,
            std::span<const uint8_t> palette, std::string_view name)
      : codes_(codes),
        bits_(header.bits),
        palette_(palette),
        name_(name),
        image_(header.height, header.width, 3) {}

  Image read() {
    for (size_t p = 0; p < image_.pixels.size(); p += 3) put_color(&image_.pixels[p], 0);
    while (true) {
      const uint8_t count = next(), value = next();
      if (count > 0) {
        for (int i = 0; i < count; ++i) put(index_in(value, i));
      } else if (value == 0) {
        x_ = 0;
        ++row_;
      } else if (value == 1) {
        return std::move(image_);
      } else if (value == 2) {
        x_ += next();
        row_ += next();
      } else {
        read_literally(value);
      }
    }
  }

 private:
  /// `count` indices as they are, up to an even number of bytes.
  void read_literally(int count) {
    const int in_byte = 8 / bits_, bytes = (count + in_byte - 1) / in_byte;
    for (int b = 0; b < bytes; ++b) {
      const uint8_t value = next();
      const int left = count - b * in_byte;
      for (int i = 0; i < std::min(in_byte, left); ++i) put(index_in(value, i));
    }
    if (bytes % 2 == 1) next();
  }

  uint8_t next() {
    if (at_ == codes_.size()) damaged("BMP file is truncated", name_);
    return codes_[at_++];
  }

  /// The i-th of the indices that a byte repeats: its halves in turn where they have four bits.
  int index_in(uint8_t value, int i) const {
    if (bits_ == 8) return value;
    return i % 2 == 0 ? value >> 4 : value & 15;
  }

  void put(int index) {
    if (x_ >= image_.width || row_ >= image_.height) {
      damaged("BMP file is damaged (a run leaves the image)", name_);
    }
    put_color(image_.at(image_.height - 1 - static_cast<int>(row_), static_cast<int>(x_)), index);
    ++x_;
  }

  void put_color(uint8_t* rgb, int index) const {
    const size_t entry = 4 * to_size(index);  // blue, green, red, nothing
    if (entry + 4 > palette_.size()) {
      damaged("BMP file is damaged (a colour that the palette does not have)", name_);
    }
    for (size_t c = 0; c < 3; ++c) rgb[c] = palette_[entry + 2 - c];
  }

  std::span<const uint8_t> codes_;
  int bits_;
  std::span<const uint8_t> palette_;
  std::string_view name_;
  Image image_;
  size_t at_ = 0;
  int64_t x_ = 0, row_ = 0;  // from the lower left
};

}  // namespace

bool has_bmp_runs(std::span<const uint8_t> bytes) {
  if (little_endian(bytes, kFileHeader, 4) < kInfoHeader) return false;
  const uint32_t bits = little_endian(bytes, 28, 2), coding = little_endian(bytes, 30, 4);
  return (coding == kRuns8 && bits == 8) || (coding == kRuns4 && bits == 4);
}

BmpRunsHeader read_bmp_runs_header(std::span<const uint8_t> bytes, std::string_view name) {
  if (bytes.size() < kFileHeader + kInfoHeader) damaged("BMP file is truncated", name);
  const auto width = static_cast<int32_t>(little_endian(bytes, 18, 4));
  const auto height = static_cast<int32_t>(little_endian(bytes, 22, 4));
  if (width <= 0 || height <= 0) damaged("BMP header is not valid", name);
  return {height, width, static_cast<int>(little_endian(bytes, 28, 2))};
}

Image decode_bmp_runs(std::span<const uint8_t> bytes, std::string_view name) {
  const BmpRunsHeader header = read_bmp_runs_header(bytes, name);
  const size_t all_colors = size_t{1} << header.bits;
  const size_t stated = little_endian(bytes, 46, 4);  // 0: all
  const size_t colors = stated == 0 ? all_colors : std::min(stated, all_colors);
  const size_t palette = kFileHeader + size_t{little_endian(bytes, kFileHeader, 4)};
  const size_t codes = little_endian(bytes, 10, 4);
  if (palette > bytes.size() || bytes.size() - palette < 4 * colors || codes > bytes.size()) {
    damaged("BMP file is truncated", name);
  }
  return RunReader(bytes.subspan(codes), header, bytes.subspan(palette, 4 * colors), name).read();
}

}  // namespace macadam
