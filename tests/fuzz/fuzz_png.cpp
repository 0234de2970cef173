// PNGs that are sound up to their compressed pixels, which the fuzzer writes: every filter, size
// and colour type reaches the unfiltering, and what is read agrees with stb_image wherever that
// reads the file too, and numbers in grey with what a photo shows of them.
// Needs no seeds.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "image/deflate.h"
#include "image/gray16.h"
#include "image/image.h"
#include "image/stb.h"

namespace {

using Bytes = std::vector<uint8_t>;

void append_u32(Bytes& bytes, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    bytes.push_back(static_cast<uint8_t>(value >> shift));
}

void append_chunk(Bytes& png, std::string_view type, std::span<const uint8_t> data) {
  append_u32(png, static_cast<uint32_t>(data.size()));
  const size_t covered = png.size();
  png.insert(png.end(), type.begin(), type.end());
  png.insert(png.end(), data.begin(), data.end());
  append_u32(png, macadam::crc32(std::span(png).subspan(covered)));
}

/// A zlib stream of one stored block.
Bytes store(std::span<const uint8_t> data) {
  const auto size = static_cast<uint16_t>(data.size());
  const auto inverse = static_cast<uint16_t>(~size);
  Bytes stream{0x78, 0x01, 0x01};
  for (const uint16_t value : {size, inverse}) {
    stream.push_back(static_cast<uint8_t>(value));
    stream.push_back(static_cast<uint8_t>(value >> 8));
  }
  stream.insert(stream.end(), data.begin(), data.end());
  uint32_t a = 1, b = 0;
  for (const uint8_t byte : data) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  append_u32(stream, b << 16 | a);
  return stream;
}

}  // namespace

/// Width, height, kind, the size of the palette, then the rows with their filter types. What is
/// missing of them is filled with the first bytes again.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  struct Kind {
    uint8_t color, bits, samples;
  };
  constexpr std::array<Kind, 15> kKinds{{{0, 8, 1},
                                         {2, 8, 3},
                                         {3, 8, 1},
                                         {4, 8, 2},
                                         {6, 8, 4},
                                         {3, 1, 1},
                                         {3, 2, 1},
                                         {3, 4, 1},
                                         {0, 1, 1},
                                         {0, 2, 1},
                                         {0, 4, 1},
                                         {0, 16, 1},
                                         {2, 16, 3},
                                         {4, 16, 2},
                                         {6, 16, 4}}};
  if (size < 5) return 0;
  const uint32_t width = 1 + data[0] % 64, height = 1 + data[1] % 32;
  const Kind kind = kKinds[data[2] % kKinds.size()];
  const size_t row_bytes = (size_t{width} * kind.bits * kind.samples + 7) / 8;
  const bool exact = data[3] % 8 != 0;  // else as many bytes as there happen to be
  Bytes raw(data + 4, data + size);
  const size_t given = raw.size();
  raw.resize(exact ? height * (row_bytes + 1) : std::min<size_t>(given, 60'000));
  for (size_t i = given; i < raw.size(); ++i) raw[i] = raw[i - given];
  for (size_t y = 0; exact && y < height; ++y) raw[y * (row_bytes + 1)] %= 5;

  Bytes png{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  Bytes header;
  append_u32(header, width);
  append_u32(header, height);
  for (const int field : {int{kind.bits}, int{kind.color}, 0, 0, 0}) {
    header.push_back(static_cast<uint8_t>(field));
  }
  append_chunk(png, "IHDR", header);
  const bool palette = kind.color == 3;
  if (palette) append_chunk(png, "PLTE", Bytes(size_t{3} * (1 + data[3] / 8 * 8 + 7), data[0]));
  append_chunk(png, "IDAT", store(raw));
  append_chunk(png, "IEND", {});

  const auto same_as_stb = [&](const macadam::Image& image) {
    std::string why;
    return image == macadam::stb::decode_rgb(png, 1 << 22, why);
  };
  try {
    if (!same_as_stb(macadam::decode_rgb(png, "fuzz"))) std::abort();
  } catch (const macadam::InputError&) {
    // A palette may be too short; nothing else is wrong with an exact file.
    if (exact && !palette) std::abort();
  }
  try {
    if (palette) macadam::decode_label_indices(png, "fuzz");
  } catch (const macadam::InputError&) {
    if (exact) std::abort();
  }
  const bool gray = kind.color == 0;
  try {
    const macadam::Gray16 numbers = macadam::decode_gray16(png, "fuzz");
    const macadam::Image shown = macadam::decode_rgb(png, "fuzz");
    for (size_t p = 0; p < numbers.pixels.size(); ++p) {
      // A photo has their high byte, or fewer bits stretched to one.
      const int number = numbers.pixels[p];
      const int value = kind.bits == 16 ? number >> 8 : number * (255 / ((1 << kind.bits) - 1));
      if (value != shown.pixels.at(3 * p)) std::abort();
    }
  } catch (const macadam::InputError&) {
    if (exact && gray) std::abort();
  }
  return 0;
}
