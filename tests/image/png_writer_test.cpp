// What is written as PNG: read back by this program, libpng and stb_image, and how small it is.

#include <gtest/gtest.h>
#ifdef MACADAM_HAS_LIBPNG
#include <png.h>
#endif

#include <algorithm>
#include <array>

#include "base/rgb.h"
#include "base/to_size.h"
#include "image/filter.h"
#include "image/png.h"
#include "image/png_pixels.h"
#include "synth/synth.h"
#include "tests/image/support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

#ifdef MACADAM_HAS_LIBPNG
Image by_libpng(const std::vector<uint8_t>& file, int channels) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  EXPECT_TRUE(png_image_begin_read_from_memory(&header, file.data(), file.size()))
      << header.message;
  EXPECT_EQ(header.format, channels == 1   ? unsigned{PNG_FORMAT_GRAY}
                           : channels == 3 ? unsigned{PNG_FORMAT_RGB}
                                           : unsigned{PNG_FORMAT_RGBA});
  Image image(static_cast<int>(header.height), static_cast<int>(header.width), channels);
  EXPECT_TRUE(png_image_finish_read(&header, nullptr, image.pixels.data(), 0, nullptr))
      << header.message;
  EXPECT_EQ(header.warning_or_error, 0u) << header.message;
  return image;
}
#endif

Image without_alpha(const Image& image) {
  Image rgb(image.height, image.width, 3);
  for (size_t p = 0; p < rgb.pixels.size() / 3; ++p) {
    std::copy_n(image.pixels.begin() + static_cast<ptrdiff_t>(4 * p), 3,
                rgb.pixels.begin() + static_cast<ptrdiff_t>(3 * p));
  }
  return rgb;
}

void expect_same_pixels(const Image& image) {
  const std::vector<uint8_t> file = encode_png(image);
  const std::string what = std::to_string(image.width) + "x" + std::to_string(image.height) + "x" +
                           std::to_string(image.channels);
  if (image.channels == 1) {
    ASSERT_EQ(decode_labels(file, "written"), image) << what;
  } else {
    const Image rgb = image.channels == 4 ? without_alpha(image) : image;
    ASSERT_EQ(decode_rgb(file, "written"), rgb) << what;
  }
#ifdef MACADAM_HAS_LIBPNG
  ASSERT_EQ(by_libpng(file, image.channels), image) << what;
#endif
  ASSERT_EQ(decode_rgb(file, "written"), decode_by_stb(file)) << what;
  ASSERT_EQ(encode_png(image), file) << what << ": other bytes the second time";
}

TEST(PngWriter, EverySizeComesBack) {
  uint32_t seed = 1;
  for (const int channels : {1, 3, 4}) {
    for (const auto& [height, width] : std::vector<std::pair<int, int>>{{1, 1},
                                                                        {1, 2},
                                                                        {1, 3000},
                                                                        {3000, 1},
                                                                        {2, 1},
                                                                        {3, 5},
                                                                        {7, 63},
                                                                        {5, 64},
                                                                        {6, 65},
                                                                        {33, 129},
                                                                        {100, 101}}) {
      expect_same_pixels(noise(height, width, channels, seed));
      expect_same_pixels(wandering(height, width, channels, seed));
      expect_same_pixels(Image(height, width, channels));
      ++seed;
    }
  }
}

TEST(PngWriter, ImagesOfWrongChannelsOrWithoutPixelsAreRefused) {
  EXPECT_THROW(encode_png(Image(3, 3, 2)), std::logic_error);
  EXPECT_THROW(encode_png(Image(0, 3, 3)), std::logic_error);
  EXPECT_THROW(encode_png(Image(3, 0, 1)), std::logic_error);
}

uint64_t sum_of_magnitudes(std::span<const uint8_t> differences) {
  uint64_t sum = 0;
  for (const uint8_t d : differences) sum += d < 128 ? d : 256 - d;
  return sum;
}

TEST(Filter, EveryRowTakesTheFilterOfTheSmallestSum) {
  constexpr std::array kOrder{kUp, kPaeth, kAverage, kSub, kNone};  // of equal sums the first
  std::array<int, 5> taken{};
  uint32_t seed = 1;
  for (const size_t pixel : {1, 3, 4}) {
    for (int width = 1; width <= 150; width += width < 20 ? 1 : 13) {
      const auto channels = static_cast<int>(pixel);
      const size_t rows = 8, row_bytes = to_size(width) * pixel;
      for (const Image& image :
           {noise(8, width, channels, seed), wandering(8, width, channels, seed)}) {
        std::vector<uint8_t> out(rows * (row_bytes + 1));
        const uint64_t total = filter_rows(image.pixels, rows, row_bytes, channels, out);
        uint64_t expected_total = 0;
        for (size_t y = 0; y < rows; ++y) {
          std::vector<uint8_t> best;
          uint64_t least = UINT64_MAX;
          for (const int filter : kOrder) {
            const auto all = filter_as_specified(image.pixels, rows, row_bytes, pixel, {filter});
            const auto begin = all.begin() + static_cast<ptrdiff_t>(y * (row_bytes + 1));
            const std::vector<uint8_t> row(begin, begin + static_cast<ptrdiff_t>(row_bytes + 1));
            const uint64_t sum = sum_of_magnitudes(std::span(row).subspan(1));
            if (sum < least) {
              least = sum;
              best = row;
            }
          }
          const auto got = std::span(out).subspan(y * (row_bytes + 1), row_bytes + 1);
          ASSERT_TRUE(std::equal(got.begin(), got.end(), best.begin()))
              << "row " << y << " of width " << width << ": filter " << int{got[0]} << ", not "
              << int{best[0]};
          ++taken[got[0]];
          expected_total += least;
        }
        ASSERT_EQ(total, expected_total);
      }
      ++seed;
    }
  }
  for (const int count : taken) EXPECT_GT(count, 0) << "a filter was never taken";
}

TEST(Filter, SumsOfLongRowsDoNotOverflow) {
  // 2^25 bytes of the largest magnitude: their sum has 33 bits.
  constexpr size_t kBytes = size_t{1} << 25;
  std::vector<uint8_t> row(kBytes), out(kBytes + 1);
  for (size_t i = 0; i < kBytes; ++i) row[i] = i % 2 == 0 ? 128 : 0;
  EXPECT_EQ(filter_rows(row, 1, kBytes, 1, out), kBytes / 2 * 128);
  EXPECT_EQ(int{out[0]}, kUp);
}

/// What predict writes of a street: ids, colours, and colours over the photo.
std::array<Image, 3> pictures_of_a_street() {
  constexpr int kHeight = 256, kWidth = 512;
  const SynthScene scene = render_street(kHeight, kWidth, 3, 1);
  std::array<Image, 3> pictures{Image(kHeight, kWidth, 1), Image(kHeight, kWidth, 3),
                                Image(kHeight, kWidth, 3)};
  auto& [ids, colors, overlay] = pictures;
  ids.pixels = scene.labels;
  for (size_t p = 0; p < ids.pixels.size(); ++p) {
    const uint8_t id = ids.pixels[p];
    const Rgb color{static_cast<uint8_t>(37 * id), static_cast<uint8_t>(91 * id),
                    static_cast<uint8_t>(153 * id)};
    for (size_t c = 0; c < 3; ++c) {
      colors.pixels[3 * p + c] = color[c];
      overlay.pixels[3 * p + c] = static_cast<uint8_t>((color[c] + scene.rgb[3 * p + c]) / 2);
    }
  }
  return pictures;
}

TEST(PngWriter, FilesAreSmallerThanThoseOfStb) {
  for (const Image& picture : pictures_of_a_street()) {
    expect_same_pixels(picture);
    EXPECT_LT(encode_png(picture).size(), make_png_by_stb(picture).size());
  }
}

}  // namespace
}  // namespace macadam
