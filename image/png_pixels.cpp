#include "image/png_pixels.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"
#include "image/deflate.h"
#include "image/unfilter.h"

namespace macadam {

namespace {

[[noreturn]] void damaged(std::string_view why, std::string_view name) {
  throw InputError(fmt::format("PNG file is damaged ({})", why), name,
                   "copy or download the file again");
}

/// The zlib stream in one piece: the only one, or a copy of all in `storage`.
std::span<const uint8_t> joined(const std::vector<std::span<const uint8_t>>& pieces,
                                std::vector<uint8_t>& storage) {
  if (pieces.size() == 1) return pieces.front();
  size_t size = 0;
  for (const auto piece : pieces) size += piece.size();
  storage.reserve(size);
  for (const auto piece : pieces) storage.insert(storage.end(), piece.begin(), piece.end());
  return storage;
}

/// Grey values or indices of fewer than 8 bits, the leftmost in the highest; rows begin at whole
/// bytes.
Image unpack(const Image& packed, int width, int bits) {
  Image image(packed.height, width, 1);
  const int in_a_byte = 8 / bits, mask = (1 << bits) - 1;
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* row = packed.at(y, 0);
    uint8_t* out = image.at(y, 0);
    for (int x = 0; x < width; ++x) {
      const int shift = 8 - bits * (x % in_a_byte + 1);
      out[x] = static_cast<uint8_t>(row[x / in_a_byte] >> shift & mask);
    }
  }
  return image;
}

/// The samples as stored, a byte each, or of 16 bits two, the higher first; channels are the bytes
/// of a pixel.
Image decode_samples(const PngChunks& chunks, const PngHeader& header, std::string_view name) {
  const auto rows = static_cast<size_t>(header.height);
  const int samples = header.samples();
  const size_t bits_a_row = static_cast<size_t>(header.width) * to_size(samples * header.bits);
  const size_t row_bytes = (bits_a_row + 7) / 8, size = rows * (row_bytes + 1);

  std::vector<uint8_t> storage;
  const auto stream = joined(chunks.data, storage);
  // 258 bytes from 2 bits are the most that deflate can do: a small file gets no large buffer.
  constexpr size_t kMaxRatio = 258 * 4;
  if (size / kMaxRatio > stream.size()) damaged("fewer pixels than its header claims", name);
  // One buffer for both, because fresh memory costs about as much time as unfiltering.
  const size_t lead = kUnfilterLead * row_bytes;
  std::vector<uint8_t> pixels(lead + size);
  const auto filtered = std::span(pixels).subspan(lead);
  switch (inflate_zlib(stream, filtered)) {
    case InflateResult::exact: break;
    case InflateResult::damaged: damaged("its compressed data", name);
    case InflateResult::too_short: damaged("fewer pixels than its header claims", name);
    case InflateResult::too_long: damaged("more pixels than its header claims", name);
  }
  const auto unfiltered = std::span(pixels).first(rows * row_bytes);
  const int pixel_bytes = header.bits == 16 ? 2 * samples : samples;
  if (!unfilter_rows(filtered, rows, row_bytes, pixel_bytes, unfiltered)) {
    damaged("unknown filter", name);
  }
  pixels.resize(unfiltered.size());

  const bool packed = header.bits < 8;
  Image image;
  image.height = static_cast<int>(header.height);
  image.width = static_cast<int>(packed ? row_bytes : header.width);
  image.channels = pixel_bytes;
  image.pixels = std::move(pixels);
  if (packed) return unpack(image, static_cast<int>(header.width), header.bits);
  return image;
}

Image look_up(const Image& indices, std::span<const uint8_t> palette, std::string_view name) {
  const size_t colors = palette.size() / 3;
  Image image(indices.height, indices.width, 3);
  uint8_t* out = image.pixels.data();
  size_t highest = 0;
  for (const size_t index : indices.pixels) {
    highest = std::max(highest, index);
    const uint8_t* color = palette.data() + 3 * std::min(index, colors - 1);
    for (size_t c = 0; c < 3; ++c) *out++ = color[c];
  }
  if (highest >= colors) {
    damaged(fmt::format("a pixel has colour {} of a palette of {}", highest, colors), name);
  }
  return image;
}

/// Repeats grey or drops the samples behind RGB.
template <int kChannels>
Image to_rgb(const Image& image) {
  Image result(image.height, image.width, 3);
  const uint8_t* in = image.pixels.data();
  const size_t pixels = result.pixels.size() / 3;
  uint8_t* out = result.pixels.data();
  for (size_t p = 0; p < pixels; ++p) {
    for (size_t c = 0; c < 3; ++c) out[3 * p + c] = in[kChannels * p + (kChannels < 3 ? 0 : c)];
  }
  return result;
}

}  // namespace

bool reads_png_pixels(const PngHeader& header) {
  return !header.interlaced && (header.bits == 8 || header.color == PngColor::palette);
}

Image decode_png_rgb(std::span<const uint8_t> bytes, const PngHeader& header,
                     std::string_view name) {
  require(reads_png_pixels(header), "the PNG is of the kind that is read here");
  const PngChunks chunks = read_png_chunks(bytes, name);
  const bool palette = header.color == PngColor::palette;
  if (palette && chunks.palette.empty()) damaged("it has no palette", name);
  Image image = decode_samples(chunks, header, name);
  if (palette) return look_up(image, chunks.palette, name);
  switch (image.channels) {
    case 1: return to_rgb<1>(image);
    case 2: return to_rgb<2>(image);
    case 4: return to_rgb<4>(image);
    default: return image;
  }
}

Image decode_png_ids(std::span<const uint8_t> bytes, const PngHeader& header,
                     std::string_view name) {
  require(!header.interlaced && header.bits <= 8 && header.samples() == 1, "a pixel is one number");
  return decode_samples(read_png_chunks(bytes, name), header, name);
}

std::vector<uint16_t> decode_png_gray16(std::span<const uint8_t> bytes, const PngHeader& header,
                                        std::string_view name) {
  require(!header.interlaced && header.bits == 16 && header.color == PngColor::gray,
          "a pixel is one number of 16 bits");
  const Image bytewise = decode_samples(read_png_chunks(bytes, name), header, name);
  std::vector<uint16_t> values(bytewise.pixels.size() / 2);
  for (size_t p = 0; p < values.size(); ++p) {
    values[p] = static_cast<uint16_t>(bytewise.pixels[2 * p] << 8 | bytewise.pixels[2 * p + 1]);
  }
  return values;
}

}  // namespace macadam
