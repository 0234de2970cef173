// Which part of a photo is seen, and how it is brought to size.

#include <map>

#include "base/to_size.h"
#include "loader/augment/augmentation.h"
#include "loader/label_set.h"
#include "tests/image/support.h"
#include "tests/loader/augment_support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

constexpr int kDraws = 5000;

/// Windows of many samples of a photo.
std::vector<SourceWindow> windows_of(const AugmentList& list, const LabelMap& photo,
                                     int count = kDraws) {
  const Augmentation augmentation(list, kSize);
  std::vector<SourceWindow> windows;
  for (int sample = 0; sample < count; ++sample) {
    windows.push_back(augmentation.window(3, 1, sample, photo));
  }
  return windows;
}

TEST(AugmentWindow, WithoutACropItIsThePhoto) {
  const Augmentation augmentation(default_augmentation(), kSize);
  EXPECT_FALSE(augmentation.windows());
  EXPECT_EQ(augmentation.window(1, 1, 1, {100, 200, {}}), (SourceWindow{0, 0, 100, 200}));
}

TEST(AugmentWindow, CropsAreUniformAndWhole) {
  const auto list = parse({entry("RandomCrop")});
  EXPECT_TRUE(Augmentation(list, kSize).windows());
  std::vector<int> rows(100 - 48 + 1), columns(200 - 64 + 1);
  for (const SourceWindow& w : windows_of(list, {100, 200, {}}, 20'000)) {
    ASSERT_EQ(w.height, 48);
    ASSERT_EQ(w.width, 64);
    ASSERT_EQ(w.y, std::floor(w.y));
    ++rows.at(static_cast<size_t>(w.y));
    ++columns.at(static_cast<size_t>(w.x));
  }
  expect_shares(rows, std::vector<double>(rows.size(), 1));
  expect_shares(columns, std::vector<double>(columns.size(), 1));
}

TEST(AugmentWindow, ScaledCropsStayWithinThePhoto) {
  const auto list =
      parse({entry("RandomScale", {{"scale_limit", pair(-0.5, 1.0)}, {"p", value(1)}}),
             entry("RandomCrop", {{"height", value(40)}})});
  std::vector<double> scales;
  for (const SourceWindow& w : windows_of(list, {100, 200, {}})) {
    ASSERT_GE(w.y, 0);
    ASSERT_LE(w.y + w.height, 100 + 1e-9);
    ASSERT_GE(w.x, 0);
    ASSERT_LE(w.x + w.width, 200 + 1e-9);
    // The photo is scaled to whole pixels, rounded down.
    ASSERT_NEAR(40 / w.height * 100, std::round(40 / w.height * 100), 1e-9);
    scales.push_back(64 / w.width);
  }
  expect_law(scales, [](double s) { return std::clamp((s + 0.0025 - 0.5) / 1.5, 0.0, 1.0); });
}

TEST(AugmentWindow, ASmallPhotoLiesAnywhereWithinTheRectangle) {
  std::vector<int> rows(48 - 30 + 1);
  for (const SourceWindow& w : windows_of(parse({entry("RandomCrop")}), {30, 200, {}})) {
    ASSERT_LE(w.y, 0);
    ASSERT_GE(w.y + w.height, 30);
    ++rows.at(static_cast<size_t>(-w.y));
  }
  expect_shares(rows, std::vector<double>(rows.size(), 1));
}

TEST(AugmentWindow, ProbabilitiesCount) {
  const auto list = parse({entry("RandomCrop", {{"p", value(0.25)}})});
  int whole = 0;
  for (const SourceWindow& w : windows_of(list, {100, 200, {}})) whole += w.height == 100 ? 1 : 0;
  expect_shares({whole, kDraws - whole}, {0.75, 0.25});
}

/// 100 x 200 pixels of class 0, 8 x 6 of class 5 at (40, 90), one of class 7 in a corner, and
/// ignored ones.
struct Labels {
  std::vector<uint8_t> pixels = std::vector<uint8_t>(100 * 200);
  Labels() {
    for (int y = 40; y < 48; ++y) {
      for (int x = 90; x < 96; ++x) pixels[to_size(y * 200 + x)] = 5;
    }
    pixels[99 * 200 + 199] = 7;
    for (size_t i = 0; i < 200; ++i) pixels[i] = kIgnore;
  }
  LabelMap map() const { return {100, 200, pixels}; }
};

TEST(AugmentWindow, ClassesAreUniformInTheMiddle) {
  const Labels labels;
  const auto list = parse({entry("RandomCrop", {{"class_uniform", value(1.0)}})});
  EXPECT_TRUE(Augmentation(list, kSize).needs_labels());
  std::vector<int> five(8), classes(3);
  for (const SourceWindow& w : windows_of(list, labels.map())) {
    const int y = static_cast<int>(w.y) + 24, x = static_cast<int>(w.x) + 32;
    if (w.y == 52 && w.x == 136) {  // as near to the corner as the edges allow
      ++classes[2];
    } else if (y >= 40 && y < 48 && x >= 90 && x < 96) {
      ++classes[1];
      ++five.at(to_size(y - 40));
    } else {
      ++classes[0];
    }
  }
  expect_shares(five, std::vector<double>(8, 1));
  // Windows of class 0 end in the corner, or at class 5, now and then.
  for (const int count : classes) EXPECT_NEAR(count, kDraws / 3, kDraws / 10);
}

TEST(AugmentWindow, AShareOfTheSamplesIsClassUniform) {
  const Labels labels;
  const auto list = parse({entry("RandomCrop", {{"class_uniform", value(0.3)}})});
  int corner = 0;
  for (const SourceWindow& w : windows_of(list, labels.map(), 20'000)) {
    corner += w.y == 52 && w.x == 136 ? 1 : 0;
  }
  EXPECT_NEAR(corner, 20'000 * 0.3 / 3, 300);
}

TEST(AugmentWindow, AMaskWithoutLabelsIsCroppedAnywhere) {
  const std::vector<uint8_t> ignored(100 * 200, kIgnore);
  const auto list = parse({entry("RandomCrop", {{"class_uniform", value(1.0)}})});
  std::map<double, int> rows;
  for (const SourceWindow& w : windows_of(list, {100, 200, ignored}, 1000)) ++rows[w.y];
  EXPECT_GT(rows.size(), 40u);
}

TEST(AugmentWindow, OneClassDoesNotFillTheWindowWhereThereIsAChoice) {
  // The left half is class 1, the right half 2, the lower third ignored.
  std::vector<uint8_t> pixels(100 * 200);
  for (size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = i / 200 >= 66 ? kIgnore : i % 200 < 100 ? 1 : 2;
  }
  const LabelMap photo{100, 200, pixels};
  const auto share = [&](const SourceWindow& w) {
    std::map<int, double> counts;
    for (int y = static_cast<int>(w.y); y < w.y + 48; ++y) {
      for (int x = static_cast<int>(w.x); x < w.x + 64; ++x) {
        const uint8_t label = pixels[to_size(y * 200 + x)];
        if (label != kIgnore) ++counts[label];
      }
    }
    return std::max(counts[1], counts[2]) / (counts[1] + counts[2]);
  };
  const auto crop = [](double ratio) {
    return parse({entry("RandomCrop", {{"cat_max_ratio", value(ratio)}})});
  };
  int unbalanced = 0, before = 0;
  for (const SourceWindow& w : windows_of(crop(0.75), photo))
    unbalanced += share(w) >= 0.75 ? 1 : 0;
  for (const SourceWindow& w : windows_of(crop(1), photo)) before += share(w) >= 0.75 ? 1 : 0;
  // A draw fails with the probability q; after ten more it stands.
  const double q = static_cast<double>(before) / kDraws;
  EXPECT_GT(q, 0.5);
  EXPECT_NEAR(unbalanced, kDraws * std::pow(q, 11), 4 * std::sqrt(kDraws * std::pow(q, 11)) + 5);
}

TEST(AugmentWindow, LabelsAreRequiredWhereTheyAreLookedAt) {
  const auto list = parse({entry("RandomCrop", {{"cat_max_ratio", value(0.75)}})});
  EXPECT_THROW(windows_of(list, {100, 200, {}}, 1), std::logic_error);
}

TEST(ResizeWindow, TheWholeImageIsAnOrdinaryResize) {
  const Image photo = noise(31, 47, 3, 1);
  for (const auto& [height, width] : {std::pair{20, 30}, std::pair{62, 94}, std::pair{31, 47}}) {
    Image out(height, width, 3);
    resize_bilinear(photo, SourceWindow{0, 0, 31, 47}, height, width, 9, out.pixels);
    EXPECT_EQ(out, resize_bilinear(photo, height, width));
    resize_nearest(photo, SourceWindow{0, 0, 31, 47}, height, width, 9, out.pixels);
    EXPECT_EQ(out, resize_nearest(photo, height, width));
  }
}

TEST(ResizeWindow, WholeOffsetsAtFullSizeCopy) {
  const Image photo = noise(31, 47, 3, 1);
  for (const auto& [y, x] : {std::pair{3, 5}, std::pair{-4, -6}, std::pair{20, 30},
                             std::pair{-40, 0}, std::pair{31, 47}}) {
    const SourceWindow window{static_cast<double>(y), static_cast<double>(x), 16, 24};
    Image bilinear(16, 24, 3), nearest(16, 24, 3);
    resize_bilinear(photo, window, 16, 24, 9, bilinear.pixels);
    resize_nearest(photo, window, 16, 24, 9, nearest.pixels);
    EXPECT_EQ(bilinear, nearest);
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 24; ++j) {
        const int row = y + i, column = x + j;
        const bool inside = row >= 0 && row < 31 && column >= 0 && column < 47;
        ASSERT_EQ(bilinear.at(i, j)[1], inside ? photo.at(row, column)[1] : 9) << i << ", " << j;
      }
    }
  }
}

TEST(ResizeWindow, AWindowIsAPartOfTheWholeResized) {
  // Twice the size: windows at half pixels fall on the same positions.
  const Image photo = noise(31, 47, 3, 1), mask = noise_mask(31, 47, 9, 2);
  const Image large = resize_bilinear(photo, 62, 94), large_mask = resize_nearest(mask, 62, 94);
  Image part(20, 30, 3), part_mask(20, 30, 1);
  const SourceWindow window{3.5, 8, 10, 15};
  resize_bilinear(photo, window, 20, 30, 9, part.pixels);
  resize_nearest(mask, window, 20, 30, 255, part_mask.pixels);
  for (int y = 0; y < 20; ++y) {
    for (int x = 0; x < 30; ++x) {
      for (int c = 0; c < 3; ++c) ASSERT_EQ(part.at(y, x)[c], large.at(y + 7, x + 16)[c]);
      ASSERT_EQ(*part_mask.at(y, x), *large_mask.at(y + 7, x + 16));
    }
  }
}

TEST(ResizeWindow, BeyondTheImageIsFilledInPhotoAndMaskAlike) {
  const Image photo(10, 10, 3), mask(10, 10, 1);
  for (const SourceWindow& window :
       {SourceWindow{-3.3, 2.2, 17.5, 5.1}, {-20, -20, 5, 5}, {8.7, 0, 30, 400}}) {
    Image part(13, 19, 3), part_mask(13, 19, 1);
    resize_bilinear(photo, window, 13, 19, 255, part.pixels);
    resize_nearest(mask, window, 13, 19, 255, part_mask.pixels);
    for (int y = 0; y < 13; ++y) {
      for (int x = 0; x < 19; ++x) {
        const double row = window.y + (y + 0.5) * window.height / 13;
        const double column = window.x + (x + 0.5) * window.width / 19;
        const bool inside = row >= 0 && row < 10 && column >= 0 && column < 10;
        ASSERT_EQ(*part_mask.at(y, x), inside ? 0 : 255);
        ASSERT_EQ(part.at(y, x)[2], inside ? 0 : 255);
      }
    }
  }
}

}  // namespace
}  // namespace macadam
