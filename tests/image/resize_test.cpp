#include "image/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/image/support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

/// Bilinear interpolation at half-pixel centres, in double, one output value at a time.
double exact_bilinear(const Image& image, int height, int width, int y, int x, int c) {
  const auto source = [](int target, int in, int out) {
    return std::clamp((target + 0.5) * in / out - 0.5, 0.0, in - 1.0);
  };
  const double sy = source(y, image.height, height), sx = source(x, image.width, width);
  const int y0 = static_cast<int>(sy), x0 = static_cast<int>(sx);
  const int y1 = std::min(y0 + 1, image.height - 1), x1 = std::min(x0 + 1, image.width - 1);
  const double fy = sy - y0, fx = sx - x0;
  return (1 - fy) * ((1 - fx) * image.at(y0, x0)[c] + fx * image.at(y0, x1)[c]) +
         fy * ((1 - fx) * image.at(y1, x0)[c] + fx * image.at(y1, x1)[c]);
}

struct Case {
  int in_height, in_width, out_height, out_width;
};

class Resize : public ::testing::TestWithParam<Case> {};

TEST_P(Resize, BilinearIsWithinOneOfTheExactValue) {
  const auto [in_height, in_width, out_height, out_width] = GetParam();
  for (const int channels : {1, 3, 4}) {
    const Image image = noise(in_height, in_width, channels, 7);
    const Image resized = resize_bilinear(image, out_height, out_width);
    double total = 0;
    for (int y = 0; y < out_height; ++y) {
      for (int x = 0; x < out_width; ++x) {
        for (int c = 0; c < channels; ++c) {
          const double exact = exact_bilinear(image, out_height, out_width, y, x, c);
          const double error = std::abs(resized.at(y, x)[c] - exact);
          ASSERT_LE(error, 0.75) << y << " " << x << " " << c;
          total += error;
        }
      }
    }
    EXPECT_LE(total / static_cast<double>(resized.pixels.size()), 0.3);
  }
}

TEST_P(Resize, NearestTakesTheNearestCenter) {
  const auto [in_height, in_width, out_height, out_width] = GetParam();
  const Image image = noise(in_height, in_width, 1, 8);
  const Image resized = resize_nearest(image, out_height, out_width);
  for (int y = 0; y < out_height; ++y) {
    for (int x = 0; x < out_width; ++x) {
      const int sy = static_cast<int>(std::floor((y + 0.5) * in_height / out_height + 1e-9));
      const int sx = static_cast<int>(std::floor((x + 0.5) * in_width / out_width + 1e-9));
      ASSERT_EQ(*resized.at(y, x), *image.at(sy, sx)) << y << " " << x;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Resize,
                         ::testing::Values(Case{9, 13, 9, 13}, Case{16, 32, 8, 16},
                                           Case{7, 9, 21, 18}, Case{31, 17, 12, 40},
                                           Case{1, 1, 5, 6}, Case{50, 60, 1, 1}, Case{2, 3, 64, 64},
                                           Case{360, 480, 90, 111}));

TEST(ResizeNearest, HandWorkedPositions) {
  // 4 -> 2: centres 1.0 and 3.0 lie on the border of two pixels; the right one is taken.
  EXPECT_EQ(nearest_source(0, 4, 2), 1);
  EXPECT_EQ(nearest_source(1, 4, 2), 3);
  EXPECT_EQ(nearest_source(0, 3, 1), 1);
  EXPECT_EQ(nearest_source(0, 2, 4), 0);
  EXPECT_EQ(nearest_source(1, 2, 4), 0);
  EXPECT_EQ(nearest_source(2, 2, 4), 1);
  EXPECT_EQ(nearest_source(65'499, 65'500, 65'500), 65'499);
}

TEST(ResizeBilinear, KeepsConstantsAndHandWorkedValues) {
  Image flat(5, 7, 3);
  std::fill(flat.pixels.begin(), flat.pixels.end(), uint8_t{255});
  for (const uint8_t value : resize_bilinear(flat, 11, 3).pixels) EXPECT_EQ(value, 255);
  Image pair(1, 2, 1);
  pair.pixels = {0, 100};
  EXPECT_EQ(resize_bilinear(pair, 1, 4).pixels, (std::vector<uint8_t>{0, 25, 75, 100}));
  EXPECT_EQ(resize_bilinear(pair, 1, 1).pixels, (std::vector<uint8_t>{50}));
}

TEST(ResizeNearest, InventsNoIds) {
  Image mask(6, 6, 1);
  for (size_t i = 0; i < mask.pixels.size(); ++i) mask.pixels[i] = i % 2 ? 7 : 26;
  const Image resized = resize_nearest(mask, 13, 4);
  const std::set<uint8_t> ids(resized.pixels.begin(), resized.pixels.end());
  EXPECT_EQ(ids, (std::set<uint8_t>{7, 26}));
}

}  // namespace
}  // namespace macadam
