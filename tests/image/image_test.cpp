#include "image/image.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "base/to_size.h"
#include "image/deflate.h"
#include "tests/image/support.h"

namespace macadam {
namespace {

using namespace macadam::testing;
namespace fs = std::filesystem;

constexpr int kGray = 0, kRgb = 2, kPalette = 3, kGrayAlpha = 4, kRgba = 6;

TEST(Image, PngRoundTrips) {
  const TemporaryFolder folder;
  const Image photo = noise(13, 17, 3, 1), mask = noise(13, 17, 1, 2);
  write_png(folder / "photo.png", photo);
  write_png(folder / "mask.png", mask);
  EXPECT_EQ(read_rgb(folder / "photo.png"), photo);
  EXPECT_EQ(read_labels(folder / "mask.png"), mask);

  const ImageInfo info = probe_image(folder / "photo.png");
  EXPECT_EQ(info.format, ImageFormat::png);
  EXPECT_EQ(info.height, 13);
  EXPECT_EQ(info.width, 17);
  EXPECT_EQ(info.channels, 3);
  EXPECT_FALSE(info.palette);
}

TEST(Image, GrayPhotoBecomesRgb) {
  const Image gray = noise(4, 5, 1, 3);
  const Image rgb = decode_rgb(encode_png(gray), "grey");
  ASSERT_EQ(rgb.channels, 3);
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 5; ++x) {
      for (int c = 0; c < 3; ++c) EXPECT_EQ(rgb.at(y, x)[c], *gray.at(y, x));
    }
  }
}

TEST(Image, AlphaIsDroppedAndSixteenBitsAreCut) {
  const Image rgba = decode_rgb(make_png(2, 1, 8, kRgba, {{1, 2, 3, 0, 4, 5, 6, 128}}), "rgba");
  EXPECT_EQ(rgba.pixels, (std::vector<uint8_t>{1, 2, 3, 4, 5, 6}));
  const Image deep =
      decode_rgb(make_png(1, 1, 16, kRgb, {{0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC}}), "");
  EXPECT_EQ(deep.pixels, (std::vector<uint8_t>{0x12, 0x56, 0x9A}));
}

TEST(Image, ReadsJpegAndBmp) {
  Image photo(16, 24, 3);
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 24; ++x) {
      photo.at(y, x)[0] = static_cast<uint8_t>(10 * x);
      photo.at(y, x)[1] = static_cast<uint8_t>(16 * y);
      photo.at(y, x)[2] = 90;
    }
  }
  EXPECT_EQ(decode_rgb(make_bmp(photo), "bmp"), photo);
  EXPECT_EQ(probe_image(make_bmp(photo), "bmp").format, ImageFormat::bmp);

  const auto jpeg = make_jpeg(photo, 95);
  const ImageInfo info = probe_image(jpeg, "jpeg");
  EXPECT_EQ(info.format, ImageFormat::jpeg);
  EXPECT_EQ(info.height, 16);
  EXPECT_EQ(info.width, 24);
  const Image decoded = decode_rgb(jpeg, "jpeg");
  ASSERT_EQ(decoded.pixels.size(), photo.pixels.size());
  for (size_t i = 0; i < photo.pixels.size(); ++i) {
    EXPECT_NEAR(decoded.pixels[i], photo.pixels[i], 16);  // goldens.cpp compares exactly
  }
}

/// A BMP with a palette (blue, green, red, nothing), and pixels as `coding` says.
std::vector<uint8_t> make_palette_bmp(int width, int height, uint8_t bits, uint8_t coding,
                                      const std::vector<uint8_t>& palette,
                                      const std::vector<uint8_t>& codes) {
  const auto pixels_at = static_cast<uint8_t>(54 + palette.size());
  std::vector<uint8_t> bmp(54 + palette.size() + codes.size());
  bmp[0] = 'B';
  bmp[1] = 'M';
  bmp[10] = pixels_at;
  bmp[14] = 40;
  bmp[26] = 1;
  bmp[28] = bits;
  bmp[30] = coding;
  bmp[46] = static_cast<uint8_t>(palette.size() / 4);
  std::memcpy(&bmp[18], &width, 4);
  std::memcpy(&bmp[22], &height, 4);
  std::ranges::copy(palette, bmp.begin() + 54);
  std::ranges::copy(codes, bmp.begin() + pixels_at);
  return bmp;
}

const std::vector<uint8_t> kColors{3, 2, 1, 0, 6, 5, 4, 0, 9, 8, 7, 0};  // three

/// The palette's colours as they are seen.
std::vector<uint8_t> seen(const std::vector<int>& indices) {
  std::vector<uint8_t> rgb;
  for (const int i : indices) {
    for (int c = 1; c <= 3; ++c) rgb.push_back(static_cast<uint8_t>(3 * i + c));
  }
  return rgb;
}

TEST(Image, BmpOfRunLengths) {
  // From the bottom: a run, a literal stretch with its padding, the end of a row; a leap of one
  // pixel; the end.
  const auto eight =
      make_palette_bmp(5, 2, 8, 1, kColors, {2, 1, 0, 3, 2, 0, 2, 0, 0, 0, 0, 2, 1, 0, 3, 2, 0, 1});
  const ImageInfo info = probe_image(eight, "runs.bmp");
  EXPECT_EQ(info.format, ImageFormat::bmp);
  EXPECT_EQ(info.height, 2);
  EXPECT_EQ(info.width, 5);
  EXPECT_EQ(decode_rgb(eight, "").pixels, seen({0, 2, 2, 2, 0, 1, 1, 2, 0, 2}));
  const auto four =
      make_palette_bmp(5, 2, 4, 2, kColors, {3, 0x12, 0, 0, 0, 5, 0x21, 0x01, 0x20, 0, 0, 1});
  EXPECT_EQ(decode_rgb(four, "").pixels, seen({2, 1, 0, 1, 2, 1, 2, 1, 0, 0}));

  for (size_t size = 0; size < eight.size(); ++size) {
    EXPECT_THROW(decode_rgb(std::span(eight).first(size), "part"), InputError) << size;
  }
  const auto refused = [](const std::vector<uint8_t>& codes, const char* why) {
    expect_input_error([&] { decode_rgb(make_palette_bmp(2, 1, 8, 1, kColors, codes), "bad.bmp"); },
                       {"bad.bmp", why});
  };
  refused({3, 0, 0, 1}, "leaves the image");
  refused({0, 2, 255, 255, 1, 0, 0, 1}, "leaves the image");
  refused({0, 0, 1, 0, 0, 1}, "leaves the image");
  refused({1, 3, 0, 1}, "palette");
  refused({2, 0}, "truncated");
  expect_input_error(
      [] {
        probe_image(make_palette_bmp(2, -1, 8, 1, kColors, {0, 1}), "up.bmp");
      },
      {"up.bmp"});
  expect_input_error(
      [] {
        probe_image(make_palette_bmp(1 << 30, 2, 8, 1, kColors, {0, 1}), "huge.bmp");
      },
      {"huge.bmp", "claims"});
}

TEST(Image, BmpFromTheTopDown) {
  const std::vector<uint8_t> rows{0, 1, 0, 0, 2, 1, 0, 0};  // two of four bytes
  const auto up = make_palette_bmp(2, 2, 8, 0, kColors, rows);
  const auto down = make_palette_bmp(2, -2, 8, 0, kColors, rows);
  EXPECT_EQ(probe_image(down, "down.bmp").height, 2);
  EXPECT_EQ(decode_rgb(down, "").pixels, seen({0, 1, 2, 1}));
  EXPECT_EQ(decode_rgb(up, "").pixels, seen({2, 1, 0, 1}));
  for (size_t size = 0; size + 2 < down.size(); ++size) {
    EXPECT_THROW(decode_rgb(std::span(down).first(size), "part"), InputError) << size;
  }
}

TEST(Image, AGitLfsPointerIsNamed) {
  const std::string_view text =
      "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
  const std::vector<uint8_t> pointer(text.begin(), text.end());
  for (const auto& read : {+[](std::span<const uint8_t> b) { decode_rgb(b, "x.jpg"); },
                           +[](std::span<const uint8_t> b) { decode_labels(b, "x.jpg"); }}) {
    expect_input_error([&] { read(pointer); }, {"x.jpg", "Git LFS pointer", "git lfs pull"});
  }
}

TEST(Image, MissingFolderAndEmptyFilesAreNamed) {
  const TemporaryFolder folder;
  expect_input_error([&] { read_rgb(folder / "absent.png"); }, {"absent.png", "No such file"});
  expect_input_error([&] { read_rgb(folder.path()); }, {folder.path().string(), "regular file"});
  put_text(folder / "empty.png", "");
  expect_input_error([&] { read_rgb(folder / "empty.png"); }, {"empty.png", "0 bytes"});
  expect_input_error([&] { probe_image(folder / "empty.png"); }, {"empty.png", "0 bytes"});
  put_text(folder / "text.png", "this is not an image");
  expect_input_error([&] { read_rgb(folder / "text.png"); },
                     {"text.png", "not a JPEG, PNG or BMP"});
}

TEST(Image, EveryTruncationIsAnError) {
  const TemporaryFolder folder;
  const Image photo = noise(9, 12, 3, 4);
  for (const auto& whole : {encode_png(photo), make_jpeg(photo, 80), make_bmp(photo)}) {
    for (size_t size = 0; size < whole.size(); ++size) {
      const std::span<const uint8_t> part(whole.data(), size);
      ASSERT_THROW(decode_rgb(part, "part"), InputError) << size << " of " << whole.size();
    }
    decode_rgb(whole, "whole");
  }
  const auto png = encode_png(photo);
  put_bytes(folder / "half.png", std::span(png).first(png.size() / 2));
  expect_input_error([&] { read_rgb(folder / "half.png"); }, {"half.png", "truncated"});
}

TEST(Image, ChangedBytesOfAPngAreFound) {
  const auto whole = encode_png(noise_mask(8, 8, 5, 5));
  for (size_t i = 0; i < whole.size(); ++i) {
    auto changed = whole;
    changed[i] ^= 0x10;
    ASSERT_THROW(decode_labels(changed, "changed"), InputError) << "byte " << i;
  }
}

TEST(Image, ClaimedSizeIsRefusedBeforeAllocation) {
  const TemporaryFolder folder;
  put_bytes(folder / "huge.png", make_png(100'000, 100'000, 8, kRgb, {{0}}));
  expect_input_error([&] { probe_image(folder / "huge.png"); },
                     {"huge.png", "100000 x 100000", "32767"});
  expect_input_error([&] { read_rgb(folder / "huge.png"); }, {"100000 x 100000"});
  // Sides within the limit, but too many pixels.
  expect_input_error([&] { decode_rgb(make_png(30'000, 30'000, 8, kGray, {{0}}), "wide"); },
                     {"30000 x 30000", "268435456"});
  expect_input_error([&] { decode_rgb(make_png(0xFFFFFFFF, 1, 8, kGray, {{0}}), "long"); },
                     {"4294967295 x 1"});

  auto bmp = make_bmp(noise(2, 2, 3, 1));
  const uint32_t claimed = 100'000;
  std::memcpy(&bmp[18], &claimed, 4);
  std::memcpy(&bmp[22], &claimed, 4);
  expect_input_error([&] { decode_rgb(bmp, "huge.bmp"); }, {"huge.bmp", "100000 x 100000"});

  // The header of a JPEG, between its marker and its sampling factors.
  auto jpeg = make_jpeg(noise(8, 8, 3, 1), 90);
  const std::vector<uint8_t> frame{0xFF, 0xC0};
  const auto size = std::search(jpeg.begin(), jpeg.end(), frame.begin(), frame.end()) + 5;
  std::fill_n(size, 4, uint8_t{0xFF});
  expect_input_error([&] { decode_rgb(jpeg, "huge.jpg"); },
                     {"huge.jpg", "65535 x 65535", "32767"});  // more than libjpeg's own limit
  std::fill_n(size, 4, uint8_t{0xF0});
  expect_input_error([&] { decode_rgb(jpeg, "huge.jpg"); }, {"huge.jpg", "61680 x 61680"});

  const ImageLimits small{100, 20};
  EXPECT_NO_THROW(decode_rgb(encode_png(noise(10, 10, 3, 1)), "", small));
  EXPECT_THROW(decode_rgb(encode_png(noise(10, 11, 3, 1)), "", small), InputError);
  EXPECT_THROW(decode_rgb(encode_png(noise(1, 21, 3, 1)), "", small), InputError);
}

TEST(Image, ASideHasAtMost32767PixelsInEveryFormat) {
  using Encoder = std::vector<uint8_t> (*)(int height, int width);
  const std::pair<const char*, Encoder> formats[] = {
      {"a.png", [](int height, int width) { return encode_png(noise(height, width, 3, 1)); }},
      {"ids.png",
       [](int height, int width) { return encode_png(noise_mask(height, width, 5, 1)); }},
      {"a.jpg", [](int height, int width) { return make_jpeg(noise(height, width, 3, 1), 50); }},
      {"a.bmp", [](int height, int width) { return make_bmp(noise(height, width, 3, 1)); }},
      {"runs.bmp",
       [](int height, int width) {
         return make_palette_bmp(width, height, 8, 1, kColors, {0, 1});
       }},
      {"down.bmp", [](int height, int width) {
         const std::vector<uint8_t> rows(to_size((width + 3) / 4 * 4) * height);
         return make_palette_bmp(width, -height, 8, 0, kColors, rows);
       }}};
  constexpr int kMost = 32'767;
  for (const auto& [name, encode] : formats) {
    for (const bool wide : {true, false}) {
      const int height = wide ? 1 : kMost, width = wide ? kMost : 1;
      const Image photo = decode_rgb(encode(height, width), name);
      EXPECT_EQ(photo.height, height) << name;
      EXPECT_EQ(photo.width, width) << name;
      expect_input_error(
          [&] { decode_rgb(encode(wide ? 1 : kMost + 1, wide ? kMost + 1 : 1), name); },
          {name, wide ? "32768 x 1 pixels" : "1 x 32768 pixels", "32767"});
    }
  }
  EXPECT_EQ(decode_labels(formats[1].second(kMost, 1), "").height, kMost);
  expect_input_error([&] { decode_labels(formats[1].second(1, kMost + 1), "ids.png"); },
                     {"ids.png", "32768 x 1", "32767"});
  // The palette's indices as ids.
  const auto indices = [](int width) {
    return make_png(static_cast<uint32_t>(width), 1, 8, kPalette,
                    {std::vector<uint8_t>(to_size(width))}, {1, 2, 3});
  };
  EXPECT_EQ(decode_label_indices(indices(kMost), "").width, kMost);
  expect_input_error([&] { decode_label_indices(indices(kMost + 1), "indices.png"); },
                     {"indices.png", "32768 x 1", "32767"});
}

TEST(Image, StreamLongerThanItsHeaderClaimsIsBounded) {
  // 4 MB of zeros, compressed to a few KB.
  const Image zeros(2000, 2000, 1);
  auto bomb = encode_png(zeros);
  const auto honest = make_png(1, 1, 8, kGray, {{0}});
  constexpr size_t kHeader = 33;
  std::copy_n(honest.begin(), kHeader, bomb.begin());  // now claims 1 x 1
  expect_input_error([&] { decode_rgb(bomb, "bomb.png"); },
                     {"bomb.png", "more pixels than its header claims"});
}

TEST(Image, MasksThatWouldChangeTheIdsAreRefused) {
  const std::vector<uint8_t> palette{128, 64, 128, 70, 70, 70};
  const auto refused = [](const std::vector<uint8_t>& bytes, const std::string& why) {
    expect_input_error([&] { decode_labels(bytes, "mask.png"); },
                       {"mask.png", "a greyscale PNG", why});
  };
  refused(make_png(2, 1, 8, kPalette, {{0, 1}}, palette), "palette");
  refused(make_png(2, 1, 8, kRgb, {{7, 7, 7, 7, 7, 9}}), "[7, 7, 9] at x=1, y=0");
  refused(make_png(1, 1, 16, kRgb, {{0, 7, 0, 7, 0, 7}}), "16-bit");
  refused(make_png(1, 1, 16, kGray, {{0, 7}}), "16-bit");
  refused(make_jpeg(noise(8, 8, 1, 1), 90), "JPEG");
  // The likely mistakes are named.
  refused(make_png(2, 1, 8, kPalette, {{0, 1}}, palette), "mask_format = \"indices\"");
  refused(make_png(2, 1, 8, kRgb, {{0, 1, 2, 3, 4, 5}}), "not its coloured picture");
  EXPECT_EQ(decode_labels(make_png(2, 1, 8, kGray, {{7, 33}}), "").pixels,
            (std::vector<uint8_t>{7, 33}));
  // As a photo, the palette's colours are what is wanted.
  EXPECT_EQ(decode_rgb(make_png(2, 1, 8, kPalette, {{0, 1}}, palette), "").pixels, palette);
}

TEST(Image, GrayMasksOfOtherKindsAreIds) {
  const auto ids = [](const std::vector<uint8_t>& bytes) {
    return decode_labels(bytes, "").pixels;
  };
  using Ids = std::vector<uint8_t>;
  EXPECT_EQ(ids(make_png(3, 1, 1, kGray, {{0b01000000}})), (Ids{0, 1, 0}));
  EXPECT_EQ(ids(make_png(3, 1, 2, kGray, {{0b11010000}})), (Ids{3, 1, 0}));
  EXPECT_EQ(ids(make_png(2, 1, 4, kGray, {{0x2F}})), (Ids{2, 15}));
  EXPECT_EQ(ids(make_png(2, 1, 8, kRgb, {{7, 7, 7, 255, 255, 255}})), (Ids{7, 255}));
  EXPECT_EQ(ids(make_png(2, 1, 8, kRgba, {{7, 7, 7, 255, 0, 0, 0, 0}})), (Ids{7, 0}));
  EXPECT_EQ(ids(make_png(2, 1, 8, kGrayAlpha, {{7, 255, 9, 255}})), (Ids{7, 9}));
  // Interlaced, which stb_image decodes; of one pixel there is one pass.
  for (const int bits : {1, 2, 4, 8}) {
    const auto raw = static_cast<uint8_t>(1 << (8 - bits));  // 1 in the highest bits
    EXPECT_EQ(ids(make_png({.width = 1,
                            .height = 1,
                            .bits = bits,
                            .color = kGray,
                            .interlace = 1,
                            .raw = {0, raw}})),
              (Ids{1}))
        << bits;
  }
}

TEST(Image, InvalidPngHeadersAreErrors) {
  EXPECT_THROW(probe_image(make_png(0, 4, 8, kGray, {{0}}), ""), InputError);
  EXPECT_THROW(probe_image(make_png(4, 4, 8, 5, {{0}}), ""), InputError);
  EXPECT_THROW(decode_rgb(make_png(4, 4, 7, kGray, {{0}}), ""), InputError);
}

TEST(Image, WritingReplacesOrLeavesNothing) {
  const TemporaryFolder folder;
  write_png(folder / "out.png", noise(4, 4, 3, 1));
  const Image second = noise(5, 4, 3, 2);
  write_png(folder / "out.png", second);
  EXPECT_EQ(read_rgb(folder / "out.png"), second);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
  EXPECT_THROW(write_png(folder / "no" / "out.png", second), RunError);
}

TEST(Image, AFullDiskLeavesNoFile) {
  const TemporaryFolder folder;
  // A limit on file sizes fails a write like a full disk does, once its signal is ignored.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limited = before;
  limited.rlim_cur = 1000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limited), 0);
  EXPECT_THROW(write_png(folder / "out.png", noise(64, 64, 3, 1)), RunError);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Deflate, ChecksumMatchesTheSpecification) {
  // The check value of CRC-32, and the checksum of every IEND chunk.
  const std::string_view text = "123456789";
  EXPECT_EQ(crc32({reinterpret_cast<const uint8_t*>(text.data()), text.size()}), 0xCBF43926u);
  const std::vector<uint8_t> end{'I', 'E', 'N', 'D'};
  EXPECT_EQ(crc32(end), 0xAE426082u);
}

}  // namespace
}  // namespace macadam
