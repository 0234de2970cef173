#include "image/jpeg.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "image/exif.h"
#include "tests/image/support.h"
#include "tests/paths.h"

namespace macadam {
namespace {

using namespace macadam::testing;

using Bytes = std::vector<uint8_t>;

void append(Bytes& bytes, const Bytes& more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}

/// Where the marker stands in a JPEG.
Bytes::iterator find_marker(Bytes& jpeg, uint8_t marker) {
  const std::array<uint8_t, 2> wanted{0xFF, marker};
  return std::search(jpeg.begin(), jpeg.end(), wanted.begin(), wanted.end());
}

/// 8 x 8 pixels in `scans` scans, each of which codes one component (0 to 2 in turn) as mid-grey.
Bytes in_many_scans(int scans) {
  Bytes jpeg = make_jpeg(Image(8, 8, 3), 95);
  jpeg.erase(find_marker(jpeg, 0xDA), jpeg.end());
  for (int s = 0; s < scans; ++s) {
    const auto component = static_cast<uint8_t>(s % 3);
    const bool luminance = component == 0;
    append(jpeg, {0xFF, 0xDA, 0, 8, 1, static_cast<uint8_t>(component + 1),
                  static_cast<uint8_t>(luminance ? 0x00 : 0x11), 0, 63, 0});
    // No difference and the end of the block, in the customary tables: 00 1010, and 00 00.
    jpeg.push_back(luminance ? 0x2B : 0x0F);
  }
  append(jpeg, {0xFF, 0xD9});
  return jpeg;
}

TEST(Jpeg, ScansAreLimited) {
  EXPECT_EQ(decode_rgb(in_many_scans(3), "").pixels, Bytes(8 * 8 * 3, 128));
  EXPECT_EQ(decode_rgb(in_many_scans(300), "").pixels, Bytes(8 * 8 * 3, 128));
  expect_input_error([] { decode_rgb(in_many_scans(600), "scans.jpg"); },
                     {"scans.jpg", "more than 500 scans"});
}

TEST(Jpeg, WarningsAreErrors) {
  const Bytes whole = make_jpeg(noise(40, 40, 3, 1), 80);
  expect_input_error([&] { decode_rgb(std::span(whole).first(whole.size() / 2), "half.jpg"); },
                     {"half.jpg", "truncated or damaged", "premature end"});
  // Garbage between the last pixel and the end of the image.
  Bytes padded(whole.begin(), whole.end() - 2);
  append(padded, Bytes(20, 0));
  append(padded, {0xFF, 0xD9});
  expect_input_error([&] { decode_rgb(padded, "padded.jpg"); }, {"padded.jpg", "extraneous"});
  // Behind the end anything may stand.
  Bytes followed = whole;
  append(followed, {1, 2, 3});
  EXPECT_EQ(decode_rgb(followed, ""), decode_rgb(whole, ""));
}

/// What is made of a JPEG whose faults are taken, and the fault.
struct Taken {
  Image image;
  std::string fault;
};
Taken take(std::span<const uint8_t> bytes) {
  Taken taken;
  taken.image = decode_rgb(bytes, "odd.jpg", {}, {.fault = &taken.fault});
  return taken;
}

TEST(Jpeg, FaultsThatCostNoPixelAreTakenWhereTheyAreAskedFor) {
  const Bytes whole = make_jpeg(noise(40, 40, 3, 1), 80);
  const Image image = decode_rgb(whole, "");
  EXPECT_EQ(take(whole).image, image);
  EXPECT_EQ(take(whole).fault, "");

  const Bytes no_end(whole.begin(), whole.end() - 2);
  const Bytes half_end(whole.begin(), whole.end() - 1);
  Bytes padded = no_end;
  append(padded, Bytes(3000, 7));
  Bytes stray = padded;
  append(stray, {0xFF, 0xD9});
  Bytes marked = padded;  // an unknown marker in what follows the pixels
  append(marked, {0xFF, 0x02, 0x03});
  Bytes version = whole;
  *(find_marker(version, 0xE0) + 9) = 7;  // JFIF 7.1
  for (const Bytes& odd : {no_end, half_end, padded, stray, marked, version}) {
    expect_input_error([&] { decode_rgb(odd, "odd.jpg"); },
                       {"odd.jpg", "costs no pixel", "loader.strict = false", "--no-strict"});
    const Taken taken = take(odd);
    EXPECT_EQ(taken.image, image);
    EXPECT_NE(taken.fault.find("odd.jpg"), std::string::npos) << taken.fault;
  }
  EXPECT_NE(take(stray).fault.find("extraneous bytes before marker 0xd9"), std::string::npos);
}

TEST(Jpeg, FaultsThatCostPixelsAreNeverTaken) {
  std::vector<Bytes> files{make_jpeg(noise(24, 24, 3, 1), 80)};
  for (const char* name : {"progressive.jpg", "gray.jpg", "cmyk.jpg"}) {
    files.push_back(get_bytes(source_path(std::string("tests/golden/images/") + name)));
  }
  for (const Bytes& whole : files) {
    const Image image = decode_rgb(whole, "");
    size_t taken = 0;
    const size_t step = whole.size() > 2000 ? 7 : 1;
    for (size_t left = 1; left < whole.size(); left += left < 64 ? 1 : step) {
      const auto part = std::span(whole).first(whole.size() - left);
      try {
        EXPECT_EQ(take(part).image, image) << left << " bytes are missing";
        ++taken;
      } catch (const InputError&) {
      }
    }
    EXPECT_GE(taken, 2u);
    EXPECT_LE(taken, 8u) << "what is taken lacks the end alone";
  }
}

TEST(Jpeg, NoSingleChangedByteDoesHarm) {
  const Bytes whole = make_jpeg(noise(16, 16, 3, 2), 60);
  const Image image = decode_rgb(whole, "");
  int errors = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    Bytes changed = whole;
    changed[i] ^= 0x55;
    try {
      const Image decoded = decode_rgb(changed, "changed", {1 << 20, 4096});
      EXPECT_FALSE(decoded.pixels.empty());
    } catch (const InputError&) {
      ++errors;
    }
  }
  EXPECT_GT(errors, 50);
}

TEST(Jpeg, TablesMustFit) {
  const Bytes honest = make_jpeg(noise(16, 16, 3, 1), 80);
  Bytes evil = honest;
  const auto table = find_marker(evil, 0xC4);
  std::fill_n(table + 5, 16, uint8_t{0xFF});  // 16 * 255 codes
  expect_input_error([&] { decode_rgb(evil, "evil.jpg"); }, {"evil.jpg", "Huffman"});

  Bytes bare = honest;
  const auto first = find_marker(bare, 0xC4);
  bare.erase(first, first + 2 + (first[2] << 8 | first[3]));
  // Frames of motion JPEG have none: the customary tables are meant, which these were.
  EXPECT_EQ(decode_rgb(bare, "bare.jpg"), decode_rgb(honest, ""));
}

TEST(Jpeg, UnusualKindsAreRefused) {
  Bytes deep = make_jpeg(noise(8, 8, 3, 1), 80);
  find_marker(deep, 0xC0)[4] = 12;
  expect_input_error([&] { decode_rgb(deep, "deep.jpg"); }, {"deep.jpg", "precision 12"});
  Bytes lossless = make_jpeg(noise(8, 8, 3, 1), 80);
  find_marker(lossless, 0xC0)[1] = 0xC3;
  expect_input_error([&] { decode_rgb(lossless, "lossless.jpg"); }, {"lossless.jpg"});
}

TEST(Jpeg, IsReducedAsFarAsTheWantedSizeAllows) {
  const Bytes jpeg = make_jpeg(noise(100, 203, 3, 3), 90);
  const auto size = [&](int height, int width) {
    const Image image = decode_rgb(jpeg, "", {}, {height, width});
    return std::array{image.height, image.width};
  };
  using Size = std::array<int, 2>;
  EXPECT_EQ(size(0, 0), (Size{100, 203}));
  EXPECT_EQ(size(1, 0), (Size{100, 203}));
  EXPECT_EQ(size(100, 203), (Size{100, 203}));
  EXPECT_EQ(size(300, 300), (Size{100, 203}));
  EXPECT_EQ(size(51, 60), (Size{100, 203}));
  EXPECT_EQ(size(50, 102), (Size{50, 102}));
  EXPECT_EQ(size(50, 103), (Size{100, 203}));
  EXPECT_EQ(size(26, 51), (Size{50, 102}));
  EXPECT_EQ(size(25, 51), (Size{25, 51}));
  EXPECT_EQ(size(13, 26), (Size{13, 26}));
  EXPECT_EQ(size(1, 1), (Size{13, 26}));
  // Other formats come whole.
  EXPECT_EQ(decode_rgb(encode_png(noise(100, 203, 3, 3)), "", {}, {1, 1}).height, 100);
}

/// A TIFF block with one entry in its directory.
struct Tiff {
  bool little = true;
  uint16_t magic = 42, entries = 1, tag = 0x0112, type = 3, value = 1;
  uint32_t directory = 8, count = 1;
};

Bytes tiff_bytes(const Tiff& tiff) {
  Bytes bytes(2, tiff.little ? 'I' : 'M');
  const auto put = [&](uint32_t value, int size) {
    for (int i = 0; i < size; ++i) {
      bytes.push_back(static_cast<uint8_t>(value >> 8 * (tiff.little ? i : size - 1 - i)));
    }
  };
  put(tiff.magic, 2);
  put(tiff.directory, 4);
  put(tiff.entries, 2);
  put(tiff.tag, 2);
  put(tiff.type, 2);
  put(tiff.count, 4);
  put(tiff.value, 2);
  put(0, 2);
  return bytes;
}

Bytes app1(const Bytes& content) {
  const size_t length = content.size() + 2;
  Bytes segment{0xFF, 0xE1, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length)};
  append(segment, content);
  return segment;
}

Bytes with_exif(const Tiff& tiff) {
  Bytes content{'E', 'x', 'i', 'f', 0, 0};
  append(content, tiff_bytes(tiff));
  Bytes jpeg{0xFF, 0xD8};
  append(jpeg, app1({'h', 't', 't', 'p'}));  // XMP comes in the same kind of segment
  append(jpeg, app1(content));
  append(jpeg, {0xFF, 0xDA, 0, 2});
  return jpeg;
}

TEST(Exif, OrientationIsReadInBothByteOrders) {
  for (const bool little : {false, true}) {
    for (uint16_t value = 1; value <= 8; ++value) {
      EXPECT_EQ(exif_orientation(with_exif({.little = little, .value = value})), value);
    }
  }
}

TEST(Exif, WhatIsNotSoundCountsAsUpright) {
  EXPECT_EQ(exif_orientation(with_exif({.value = 6})), 6);
  EXPECT_EQ(exif_orientation(with_exif({.value = 0})), 1);
  EXPECT_EQ(exif_orientation(with_exif({.value = 9})), 1);
  EXPECT_EQ(exif_orientation(with_exif({.magic = 43, .value = 6})), 1);
  EXPECT_EQ(exif_orientation(with_exif({.entries = 0, .value = 6})), 1);
  EXPECT_EQ(exif_orientation(with_exif({.tag = 0x0113, .value = 6})), 1);
  EXPECT_EQ(exif_orientation(with_exif({.entries = 65'535, .tag = 0x0113, .value = 6})), 1);
  EXPECT_EQ(exif_orientation(with_exif({.type = 4, .value = 6})), 1);
  EXPECT_EQ(exif_orientation(with_exif({.value = 6, .count = 2})), 1);
  for (const uint32_t directory : {0u, 9u, 100u, 0xFFFFFFF0u, 0xFFFFFFFFu}) {
    EXPECT_EQ(exif_orientation(with_exif({.value = 6, .directory = directory})), 1);
  }
  const Bytes whole = with_exif({.value = 6});
  for (size_t size = 0; size < whole.size() - 4; ++size) {
    EXPECT_EQ(exif_orientation(std::span(whole).first(size)), 1) << size;
  }
  EXPECT_EQ(exif_orientation(make_jpeg(noise(8, 8, 3, 1), 80)), 1);
}

TEST(Exif, EveryOrientationTurns) {
  // a b      As EXIF's table says where row 0 and column 0 of the stored image are seen.
  // c d
  // e f
  Image stored(3, 2, 1);
  stored.pixels = {'a', 'b', 'c', 'd', 'e', 'f'};
  const auto seen = [&](int orientation) {
    const Image image = upright(stored, orientation);
    EXPECT_EQ(image.height, swaps_sides(orientation) ? 2 : 3);
    return std::string(image.pixels.begin(), image.pixels.end());
  };
  EXPECT_EQ(seen(1), "abcdef");
  EXPECT_EQ(seen(2), "badcfe");  // mirrored
  EXPECT_EQ(seen(3), "fedcba");  // upside down
  EXPECT_EQ(seen(4), "efcdab");
  EXPECT_EQ(seen(5), "acebdf");  // transposed
  EXPECT_EQ(seen(6), "ecafdb");  // turned to the right
  EXPECT_EQ(seen(7), "fdbeca");
  EXPECT_EQ(seen(8), "bdface");  // turned to the left
}

TEST(Exif, ProbedAndReducedSizesAreThoseOfTheUprightImage) {
  Bytes jpeg = make_jpeg(noise(40, 80, 3, 1), 80);
  Bytes content{'E', 'x', 'i', 'f', 0, 0};
  append(content, tiff_bytes({.value = 6}));
  const Bytes segment = app1(content);
  jpeg.insert(jpeg.begin() + 2, segment.begin(), segment.end());
  const ImageInfo info = probe_image(jpeg, "");
  EXPECT_EQ(info.height, 80);
  EXPECT_EQ(info.width, 40);
  EXPECT_EQ(info.orientation, 6);
  const Image whole = decode_rgb(jpeg, "");
  EXPECT_EQ(whole.height, 80);
  EXPECT_EQ(whole.width, 40);
  const Image half = decode_rgb(jpeg, "", {}, {40, 20});
  EXPECT_EQ(half.height, 40);
  EXPECT_EQ(half.width, 20);
}

}  // namespace
}  // namespace macadam
