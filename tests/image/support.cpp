#include "tests/image/support.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <stdexcept>

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image_write.h>

#include "base/to_size.h"
#include "image/deflate.h"
#include "image/stb.h"

namespace macadam::testing {

namespace fs = std::filesystem;

namespace {

void append(std::vector<uint8_t>& bytes, std::string_view text) {
  bytes.insert(bytes.end(), text.begin(), text.end());
}

void append_u32(std::vector<uint8_t>& bytes, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    bytes.push_back(static_cast<uint8_t>(value >> shift));
}

void append_chunk(std::vector<uint8_t>& png, std::string_view type,
                  const std::vector<uint8_t>& data) {
  append_u32(png, static_cast<uint32_t>(data.size()));
  std::vector<uint8_t> covered;
  append(covered, type);
  covered.insert(covered.end(), data.begin(), data.end());
  png.insert(png.end(), covered.begin(), covered.end());
  append_u32(png, crc32(covered));
}

/// A zlib stream of one stored (uncompressed) block.
std::vector<uint8_t> store(const std::vector<uint8_t>& data) {
  const auto size = static_cast<uint16_t>(data.size());
  const auto inverse = static_cast<uint16_t>(~size);
  std::vector<uint8_t> stream{0x78,
                              0x01,
                              0x01,
                              static_cast<uint8_t>(size),
                              static_cast<uint8_t>(size >> 8),
                              static_cast<uint8_t>(inverse),
                              static_cast<uint8_t>(inverse >> 8)};
  stream.insert(stream.end(), data.begin(), data.end());
  uint32_t a = 1, b = 0;
  for (const uint8_t byte : data) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  append_u32(stream, b << 16 | a);
  return stream;
}

void collect(void* context, void* data, int size) {
  const auto* first = static_cast<const uint8_t*>(data);
  auto* bytes = static_cast<std::vector<uint8_t>*>(context);
  bytes->insert(bytes->end(), first, first + size);
}

}  // namespace

Image noise(int height, int width, int channels, uint32_t seed) {
  Image image(height, width, channels);
  uint32_t state = seed * 2654435761u + 1;
  for (uint8_t& value : image.pixels) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<uint8_t>(state >> 24);
  }
  return image;
}

Image noise_mask(int height, int width, int ids, uint32_t seed) {
  Image mask = noise(height, width, 1, seed);
  for (uint8_t& id : mask.pixels) id = static_cast<uint8_t>(id % ids);
  return mask;
}

Image wandering(int height, int width, int channels, uint32_t seed) {
  Image image = noise(height, width, channels, seed);
  for (size_t i = to_size(channels); i < image.pixels.size(); ++i) {
    const uint8_t before = image.pixels[i - to_size(channels)];
    if (image.pixels[i] < 240) {
      image.pixels[i] = static_cast<uint8_t>(before + image.pixels[i] % 5 - 2);
    }
  }
  return image;
}

void put_png(const fs::path& path, const Image& image) { put_bytes(path, encode_png(image)); }

void put_bytes(const fs::path& path, std::span<const uint8_t> bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.good()) << path;
}

void put_text(const fs::path& path, std::string_view text) {
  put_bytes(path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

std::vector<uint8_t> get_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<uint8_t> make_png(uint32_t width, uint32_t height, int bits, int color,
                              const std::vector<std::vector<uint8_t>>& rows,
                              const std::vector<uint8_t>& palette) {
  PngParts parts{.width = width, .height = height, .bits = bits, .color = color};
  parts.palette = palette;
  for (const auto& row : rows) {
    parts.raw.push_back(0);
    parts.raw.insert(parts.raw.end(), row.begin(), row.end());
  }
  return make_png(parts);
}

std::vector<uint8_t> make_png(const PngParts& parts) {
  std::vector<uint8_t> png{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  std::vector<uint8_t> header;
  append_u32(header, parts.width);
  append_u32(header, parts.height);
  for (const int field : {parts.bits, parts.color, 0, 0, parts.interlace}) {
    header.push_back(static_cast<uint8_t>(field));
  }
  append_chunk(png, "IHDR", header);
  if (!parts.palette.empty()) append_chunk(png, "PLTE", parts.palette);
  const std::vector<uint8_t> stream = store(parts.raw);
  for (size_t at = 0; at < stream.size(); at += parts.piece) {
    const auto first = stream.begin() + static_cast<ptrdiff_t>(at);
    const size_t size = std::min(parts.piece, stream.size() - at);
    append_chunk(png, "IDAT", {first, first + static_cast<ptrdiff_t>(size)});
  }
  append_chunk(png, "IEND", {});
  return png;
}

int paeth_predictor(int a, int b, int c) {
  const int p = a + b - c;
  const int pa = std::abs(p - a), pb = std::abs(p - b), pc = std::abs(p - c);
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}

std::vector<uint8_t> filter_as_specified(const std::vector<uint8_t>& pixels, size_t rows,
                                         size_t row_bytes, size_t pixel_bytes,
                                         const std::vector<int>& filters) {
  std::vector<uint8_t> filtered;
  for (size_t y = 0; y < rows; ++y) {
    const int filter = filters[y % filters.size()];
    filtered.push_back(static_cast<uint8_t>(filter));
    for (size_t i = 0; i < row_bytes; ++i) {
      const size_t at = y * row_bytes + i;
      const bool has_left = i >= pixel_bytes;
      const int a = has_left ? pixels[at - pixel_bytes] : 0;
      const int b = y > 0 ? pixels[at - row_bytes] : 0;
      const int c = has_left && y > 0 ? pixels[at - row_bytes - pixel_bytes] : 0;
      int predicted = 0;
      if (filter == kSub) predicted = a;
      if (filter == kUp) predicted = b;
      if (filter == kAverage) predicted = (a + b) / 2;
      if (filter == kPaeth) predicted = paeth_predictor(a, b, c);
      filtered.push_back(static_cast<uint8_t>(pixels[at] - predicted));
    }
  }
  return filtered;
}

Image decode_by_stb(std::span<const uint8_t> bytes) {
  constexpr size_t kMaxBlock = 1 << 24;
  std::string why;
  Image image = stb::decode_rgb(bytes, kMaxBlock, why);
  if (image.height == 0) throw std::runtime_error("stb_image: " + why);
  return image;
}

std::vector<uint8_t> make_png_by_stb(const Image& image) {
  std::vector<uint8_t> bytes;
  stbi_write_png_to_func(collect, &bytes, image.width, image.height, image.channels,
                         image.pixels.data(), image.width * image.channels);
  return bytes;
}

std::vector<uint8_t> make_jpeg(const Image& image, int quality) {
  std::vector<uint8_t> bytes;
  stbi_write_jpg_to_func(collect, &bytes, image.width, image.height, image.channels,
                         image.pixels.data(), quality);
  return bytes;
}

std::vector<uint8_t> make_bmp(const Image& image) {
  std::vector<uint8_t> bytes;
  stbi_write_bmp_to_func(collect, &bytes, image.width, image.height, image.channels,
                         image.pixels.data());
  return bytes;
}

void expect_input_error(const std::function<void()>& action,
                        const std::vector<std::string>& parts) {
  try {
    action();
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    for (const std::string& part : parts) {
      EXPECT_NE(message.find(part), std::string::npos) << "no \"" << part << "\" in: " << message;
    }
    return;
  }
  ADD_FAILURE() << "no InputError was thrown";
}

void put_camvid(const fs::path& root, const std::string& split, int count, int height, int width,
                int ids, uint32_t seed) {
  for (int i = 0; i < count; ++i) {
    const std::string name = fmt::format("{}_{:05}.png", split, i);
    const uint32_t sample_seed = seed * 1000 + static_cast<uint32_t>(i);
    put_png(root / split / name, noise(height, width, 3, sample_seed));
    put_png(root / (split + "annot") / name, noise_mask(height, width, ids, sample_seed));
  }
}

}  // namespace macadam::testing
