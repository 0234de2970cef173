#include "image/png_pixels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "base/to_size.h"
#include "image/unfilter.h"
#include "tests/image/support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

constexpr int kGray = 0, kRgb = 2, kPalette = 3;
constexpr std::array<int, 5> kColorOfSamples{-1, kGray, 4, kRgb, 6};

std::vector<uint8_t> filter_image(const Image& image, const std::vector<int>& filters) {
  const auto samples = to_size(image.channels);
  return filter_as_specified(image.pixels, to_size(image.height), to_size(image.width) * samples,
                             samples, filters);
}

std::vector<uint8_t> encode(const Image& image, const std::vector<int>& filters,
                            size_t piece = 65'535) {
  PngParts parts{.width = static_cast<uint32_t>(image.width),
                 .height = static_cast<uint32_t>(image.height),
                 .color = kColorOfSamples[to_size(image.channels)]};
  parts.raw = filter_image(image, filters);
  parts.piece = piece;
  return make_png(parts);
}

TEST(Unfilter, EveryFilterEveryPixelSizeEveryWidth) {
  const std::vector<std::vector<int>> orders{
      {kNone},
      {kSub},
      {kUp},
      {kAverage},
      {kPaeth},
      {kPaeth, kPaeth, kPaeth, kPaeth, kPaeth, kUp},
      {kNone, kSub, kUp, kAverage, kPaeth},
      {kPaeth, kAverage, kPaeth, kPaeth, kSub, kPaeth, kPaeth, kPaeth, kNone},
  };
  uint32_t seed = 1;
  for (const int channels : {1, 2, 3, 4}) {
    for (int width = 1; width <= 20; ++width) {
      for (const auto& filters : orders) {
        const int height = 1 + static_cast<int>(seed % 13);
        for (const Image& image :
             {noise(height, width, channels, seed), wandering(height, width, channels, seed)}) {
          Image out(height, width, channels);
          ASSERT_TRUE(unfilter_rows(filter_image(image, filters), to_size(height),
                                    to_size(width * channels), channels, out.pixels));
          ASSERT_EQ(out, image) << width << " x " << height << " x " << channels
                                << ", filters from " << filters[0];
        }
        ++seed;
      }
    }
  }
}

TEST(Unfilter, EveryTripleOfNeighborsHasItsPredictor) {
  // Rows of (corner, above) over (left, zero): the last byte is the predictor itself. The low
  // bits vary most, so that ties are met; the high ones take every sign.
  const auto values = [](int step) {
    std::vector<int> list;
    for (int v = 0; v < 256; v += step) list.push_back(v);
    list.push_back(255);
    return list;
  };
  std::vector<uint8_t> filtered;
  std::vector<uint8_t> expected;
  for (const int c : values(5)) {
    for (const int b : values(3)) {
      for (const int a : values(1)) {
        // left = a needs a coded value of a - predictor(0, c, 0).
        const int first = a - paeth_predictor(0, c, 0);
        for (const int byte : {kNone, c, b, kPaeth, first, 0}) {
          filtered.push_back(static_cast<uint8_t>(byte));
        }
        for (const int byte : {c, b, a, paeth_predictor(a, b, c)}) {
          expected.push_back(static_cast<uint8_t>(byte));
        }
      }
    }
  }
  std::vector<uint8_t> out(expected.size());
  ASSERT_TRUE(unfilter_rows(filtered, expected.size() / 2, 2, 1, out));
  EXPECT_TRUE(out == expected);
}

TEST(Unfilter, AnUnknownFilterIsReported) {
  std::vector<uint8_t> out(4);
  const std::vector<uint8_t> filtered{0, 1, 2, 5, 3, 4};
  EXPECT_FALSE(unfilter_rows(filtered, 2, 2, 1, out));
}

TEST(PngPixels, RandomFilesAgreeWithStb) {
  uint32_t seed = 77;
  for (const int channels : {1, 2, 3, 4}) {
    for (int width = 1; width <= 20; ++width) {
      const Image image = wandering(1 + width % 7, width, channels, seed++);
      std::vector<int> filters;
      for (const uint8_t v : noise(1, 7, 1, seed).pixels) filters.push_back(v % 5);
      // In one piece, and cut into many.
      for (const size_t piece : {size_t{65'535}, size_t{7}}) {
        const auto png = encode(image, filters, piece);
        const Image rgb = decode_rgb(png, "random");
        ASSERT_EQ(rgb, decode_by_stb(png)) << channels << " channels, width " << width;
        if (channels == 3) {
          ASSERT_EQ(rgb, image);
        }
        if (channels == 1) {
          ASSERT_EQ(decode_labels(png, "random"), image);
        }
      }
    }
  }
}

TEST(PngPixels, PalettesOfEveryDepth) {
  std::vector<uint8_t> palette = noise(16, 16, 3, 5).pixels;
  for (const int bits : {1, 2, 4, 8}) {
    for (uint32_t width = 1; width <= 20; ++width) {
      const size_t row_bytes = (width * to_size(bits) + 7) / 8;
      const Image bytes = noise(3, static_cast<int>(row_bytes), 1, width);
      PngParts parts{.width = width, .height = 3, .bits = bits, .color = kPalette};
      parts.palette.assign(palette.begin(), palette.begin() + (ptrdiff_t{3} << bits));
      parts.raw = filter_as_specified(bytes.pixels, 3, row_bytes, 1, {kPaeth, kSub, kAverage});
      const auto png = make_png(parts);
      ASSERT_EQ(decode_rgb(png, "palette"), decode_by_stb(png)) << bits << " bits, " << width;

      const Image indices = decode_label_indices(png, "palette");
      const Image colors = decode_rgb(png, "palette");
      for (size_t p = 0; p < indices.pixels.size(); ++p) {
        const auto index = static_cast<ptrdiff_t>(indices.pixels[p]);
        ASSERT_LT(index, 1 << bits);
        ASSERT_TRUE(std::equal(palette.begin() + 3 * index, palette.begin() + 3 * index + 3,
                               colors.pixels.begin() + static_cast<ptrdiff_t>(3 * p)));
      }
    }
  }
}

TEST(PngPixels, StbReadsTheRest) {
  // Adam7 of 2 x 2 pixels: passes 1, 6 and 7 hold something.
  PngParts interlaced{.width = 2, .height = 2, .color = kRgb, .interlace = 1};
  interlaced.raw = {0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12};
  EXPECT_EQ(decode_rgb(make_png(interlaced), "interlaced").pixels,
            (std::vector<uint8_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  PngParts mask{.width = 2, .height = 2, .color = kGray, .interlace = 1};
  mask.raw = {0, 7, 0, 8, 0, 9, 10};
  EXPECT_EQ(decode_labels(make_png(mask), "mask").pixels, (std::vector<uint8_t>{7, 8, 9, 10}));
  // Its checksums are compared all the same.
  auto damaged = make_png(interlaced);
  damaged[damaged.size() - 20] ^= 1;
  expect_input_error([&] { decode_rgb(damaged, "interlaced.png"); },
                     {"interlaced.png", "checksum"});
  // Shallow grey is spread over 0 to 255, deep grey keeps its high byte.
  EXPECT_EQ(decode_rgb(make_png(3, 1, 2, kGray, {{0x1B}}), "").pixels,
            (std::vector<uint8_t>{0, 0, 0, 85, 85, 85, 170, 170, 170}));
  EXPECT_EQ(decode_rgb(make_png(1, 1, 16, kGray, {{0xAB, 0xCD}}), "").pixels,
            (std::vector<uint8_t>(3, 0xAB)));
}

TEST(PngPixels, DamageIsNamed) {
  const auto refused = [](const PngParts& parts, const std::string& why) {
    expect_input_error([&] { decode_rgb(make_png(parts), "bad.png"); }, {"bad.png", why});
  };
  PngParts parts{.width = 2, .height = 2, .color = kGray};
  parts.raw = {0, 1, 2, 0, 3};
  refused(parts, "fewer pixels than its header claims");
  parts.raw = {0, 1, 2, 0, 3, 4, 5};
  refused(parts, "more pixels than its header claims");
  parts.raw = {0, 1, 2, 9, 3, 4};
  refused(parts, "unknown filter");
  parts.width = parts.height = 10'000;
  refused(parts, "fewer pixels than its header claims");

  PngParts palette{.width = 2, .height = 1, .color = kPalette};
  palette.raw = {0, 0, 2};
  refused(palette, "no palette");
  palette.palette = {1, 2, 3, 4, 5, 6};
  refused(palette, "colour 2 of a palette of 2");
  EXPECT_EQ(decode_label_indices(make_png(palette), "mask").pixels, (std::vector<uint8_t>{0, 2}));
  palette.palette = {1, 2, 3, 4};
  refused(palette, "(palette)");
}

}  // namespace
}  // namespace macadam
