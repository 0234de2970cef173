#include "kernels/scalar/pixel_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/to_size.h"
#include "kernels/scalar/clahe.h"
#include "kernels/scalar/warp.h"
#include "tests/kernels/npy.h"

namespace macadam {
namespace {

using scalar::Rgb;

macadam::testing::NpyFile golden(const std::string& name) {
  return macadam::testing::augment_golden("pixel_" + name);
}

int at(const macadam::testing::NpyArray& array, size_t i) {
  return static_cast<int>(array.values.at(i));
}

Rgb pixel_at(const macadam::testing::NpyArray& array, size_t i) {
  return {static_cast<uint8_t>(at(array, 3 * i)), static_cast<uint8_t>(at(array, 3 * i + 1)),
          static_cast<uint8_t>(at(array, 3 * i + 2))};
}

int difference(Rgb a, Rgb b) {
  return std::max({std::abs(a.r - b.r), std::abs(a.g - b.g), std::abs(a.b - b.b)});
}

/// Of many colours: how many differ at all, and by how much the farthest.
struct Differences {
  int count = 0, differ = 0, worst = 0;

  void add(int by) {
    ++count;
    differ += by > 0 ? 1 : 0;
    worst = std::max(worst, by);
  }
};

TEST(PixelOps, HsvIsThatOfOpenCv) {
  auto file = golden("hsv");
  const auto pixels = file.next(), shifts = file.next(), expected = file.next();
  const size_t count = pixels.values.size() / 3;
  Differences differences;
  for (size_t s = 0; s < shifts.values.size() / 3; ++s) {
    for (size_t i = 0; i < count; ++i) {
      const Rgb made = scalar::shift_hsv(pixel_at(pixels, i), at(shifts, 3 * s),
                                         at(shifts, 3 * s + 1), at(shifts, 3 * s + 2));
      differences.add(difference(made, pixel_at(expected, s * count + i)));
    }
  }
  EXPECT_EQ(differences.count, 6 * 256);
  EXPECT_LE(differences.worst, 1);
  EXPECT_LE(differences.differ, 1);
}

TEST(PixelOps, SaturationIsThatOfAlbumentations) {
  auto file = golden("saturation");
  const auto pixels = file.next(), factors = file.next(), expected = file.next();
  const size_t count = pixels.values.size() / 3;
  Differences differences;
  for (size_t f = 0; f < factors.values.size(); ++f) {
    for (size_t i = 0; i < count; ++i) {
      const Rgb made =
          scalar::scale_saturation(pixel_at(pixels, i), static_cast<float>(factors.values[f]));
      differences.add(difference(made, pixel_at(expected, f * count + i)));
    }
  }
  EXPECT_EQ(differences.count, 6 * 256);
  EXPECT_LE(differences.worst, 1);
  EXPECT_LE(differences.differ, 3);
}

TEST(PixelOps, ShadowHalvesLightness) {
  auto file = golden("shadow");
  const auto pixels = file.next(), expected = file.next();
  Differences differences;
  for (size_t i = 0; i < pixels.values.size() / 3; ++i) {
    const Rgb made = scalar::halve_lightness(pixel_at(pixels, i));
    differences.add(difference(made, pixel_at(expected, i)));
  }
  EXPECT_EQ(differences.count, 512);
  EXPECT_LE(differences.worst, 1);
  EXPECT_LE(differences.differ, 1);
}

TEST(PixelOps, PolygonsAreFilledAsByOpenCv) {
  auto file = golden("polygons");
  const auto counts = file.next(), corners = file.next(), masks = file.next();
  size_t first = 0;
  int differ = 0, inside = 0;
  for (size_t p = 0; p < counts.values.size(); ++p) {
    std::vector<int32_t> data{at(counts, p)};
    for (size_t i = 0; i < 2 * to_size(data[0]); ++i) {
      data.push_back(at(corners, first + i));
    }
    first += 2 * to_size(data[0]);
    for (int y = 0; y < 30; ++y) {
      for (int x = 0; x < 40; ++x) {
        const bool within = scalar::in_polygons(data.data(), 1, x, y);
        const size_t pixel = (p * 30 + to_size(y)) * 40 + to_size(x);
        differ += within != (at(masks, pixel) != 0) ? 1 : 0;
        inside += within ? 1 : 0;
      }
    }
  }
  EXPECT_GT(inside, 500);
  EXPECT_LE(differ, 12);  // ties of the outlines
}

TEST(PixelOps, ManyPolygonsAreTheirUnion) {
  const std::vector<int32_t> data{3, 4, /**/ 0, 0, 4, 0, 0, 4, /**/ 6, 6, 8, 6, 8, 8, 6, 8};
  EXPECT_TRUE(scalar::in_polygons(data.data(), 2, 1, 1));
  EXPECT_TRUE(scalar::in_polygons(data.data(), 2, 2, 2));  // on an outline
  EXPECT_FALSE(scalar::in_polygons(data.data(), 2, 4, 4));
  EXPECT_TRUE(scalar::in_polygons(data.data(), 2, 6, 8));  // a corner
  EXPECT_TRUE(scalar::in_polygons(data.data(), 2, 7, 7));
  EXPECT_FALSE(scalar::in_polygons(data.data(), 2, 9, 7));
}

TEST(PixelOps, APolygonMayBeALineOrAPoint) {
  const std::vector<int32_t> line{2, 1, 1, 5, 3}, point{3, 2, 2, 2, 2, 2, 2};
  EXPECT_TRUE(scalar::in_polygons(line.data(), 1, 3, 2));
  EXPECT_FALSE(scalar::in_polygons(line.data(), 1, 3, 3));
  EXPECT_TRUE(scalar::in_polygons(point.data(), 1, 2, 2));
  EXPECT_FALSE(scalar::in_polygons(point.data(), 1, 2, 3));
}

TEST(PixelOps, NoiseIsClippedAndTruncated) {
  auto file = golden("noise");
  const auto values = file.next(), added = file.next(), expected = file.next();
  for (size_t i = 0; i < values.values.size(); ++i) {
    const uint8_t made =
        scalar::add_noise(static_cast<uint8_t>(at(values, i)), static_cast<float>(added.values[i]));
    ASSERT_EQ(int{made}, at(expected, i)) << i;
  }
}

/// Channel c of `count` neighbouring pixels.
std::vector<double> normals(int count, int c) {
  std::vector<double> values;
  for (int i = 0; i < count; ++i) {
    const scalar::Normals n = scalar::draw_normals(static_cast<uint32_t>(i), 11u, 23u);
    values.push_back(c == 0 ? n.r : (c == 1 ? n.g : n.b));
  }
  return values;
}

TEST(PixelOps, NormalsFollowTheNormalLaw) {
  constexpr int kCount = 200000;
  for (int c = 0; c < 3; ++c) {
    std::vector<double> z = normals(kCount, c);
    double second = 0, fourth = 0, distance = 0;
    int beyond_three = 0;
    std::sort(z.begin(), z.end());
    for (int i = 0; i < kCount; ++i) {
      const double v = z[to_size(i)];
      second += v * v / kCount;
      fourth += v * v * v * v / kCount;
      beyond_three += std::abs(v) > 3 ? 1 : 0;
      const double law = 0.5 * std::erfc(-v / std::sqrt(2.0));
      distance = std::max({distance, law - double{1} * i / kCount, (i + 1.0) / kCount - law});
    }
    EXPECT_LT(distance * std::sqrt(kCount), 1.63);  // Kolmogorov and Smirnov, 1 %
    EXPECT_NEAR(second, 1, 0.01);
    EXPECT_NEAR(fourth, 3, 0.08);
    EXPECT_NEAR(beyond_three, 0.0027 * kCount, 93);  // four standard deviations
  }
}

double correlation(const std::vector<double>& a, const std::vector<double>& b, size_t shift) {
  double sum = 0;
  for (size_t i = 0; i + shift < a.size(); ++i) sum += a[i] * b[i + shift];
  return sum / static_cast<double>(a.size() - shift);
}

TEST(PixelOps, NormalsOfChannelsAndNeighborsAreIndependent) {
  constexpr int kCount = 200000;
  const std::vector<double> r = normals(kCount, 0), g = normals(kCount, 1), b = normals(kCount, 2);
  const double most = 4 / std::sqrt(double{kCount});
  EXPECT_LT(std::abs(correlation(r, g, 0)), most);
  EXPECT_LT(std::abs(correlation(g, b, 0)), most);
  EXPECT_LT(std::abs(correlation(r, b, 0)), most);
  EXPECT_LT(std::abs(correlation(r, r, 1)), most);
  EXPECT_LT(std::abs(correlation(r, r, 2)), most);
  EXPECT_LT(std::abs(correlation(b, r, 1)), most);
}

TEST(PixelOps, NormalsDependOnBothKeys) {
  const float value = scalar::draw_normals(7, 1, 2).r;
  EXPECT_EQ(value, scalar::draw_normals(7, 1, 2).r);
  EXPECT_NE(value, scalar::draw_normals(7, 3, 2).r);
  EXPECT_NE(value, scalar::draw_normals(7, 1, 3).r);
}

TEST(PixelOps, LightnessIsThatOfOpenCv) {
  auto file = golden("lab");
  const auto pixels = file.next(), lightness = file.next(), changed = file.next(),
             expected = file.next();
  Differences colors;
  for (size_t i = 0; i < lightness.values.size(); ++i) {
    const Rgb pixel = pixel_at(pixels, i);
    ASSERT_EQ(scalar::lightness(pixel), at(lightness, i)) << i;
    const Rgb made = scalar::with_lightness(pixel, at(changed, i));
    colors.add(difference(made, pixel_at(expected, i)));
  }
  EXPECT_EQ(colors.count, 512);
  EXPECT_LE(colors.worst, 2);
}

class Clahe : public ::testing::TestWithParam<std::string> {};

TEST_P(Clahe, IsThatOfOpenCv) {
  auto file = golden("clahe_" + GetParam());
  const auto counts = file.next(), limit = file.next(), plane = file.next(), expected = file.next();
  const int height = plane.shape[0], width = plane.shape[1];
  const scalar::ClaheTiles tiles = scalar::clahe_tiles(height, width, at(counts, 0), at(counts, 1));
  std::vector<uint8_t> tables;
  for (int tile = 0; tile < tiles.tiles_y * tiles.tiles_x; ++tile) {
    std::vector<int> histogram(256);
    for (int i = 0; i < tiles.tile_height; ++i) {
      for (int j = 0; j < tiles.tile_width; ++j) {
        const int y = tile / tiles.tiles_x * tiles.tile_height + i,
                  x = tile % tiles.tiles_x * tiles.tile_width + j;
        const int pixel =
            scalar::reflect_index(y, height) * width + scalar::reflect_index(x, width);
        ++histogram[to_size(at(plane, to_size(pixel)))];
      }
    }
    uint8_t table[256];
    scalar::clahe_table(histogram.data(), tiles.tile_height * tiles.tile_width,
                        static_cast<float>(limit.values[0]), table);
    tables.insert(tables.end(), table, table + 256);
  }
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto i = to_size(y * width + x);
      ASSERT_EQ(int{scalar::clahe_interpolate(tables.data(), tiles, y, x, at(plane, i))},
                at(expected, i))
          << y << ' ' << x;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(PixelOps, Clahe,
                         ::testing::Values("whole", "odd", "one_axis", "unlimited"),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace macadam
