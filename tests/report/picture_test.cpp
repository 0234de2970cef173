#include "report/picture.h"

#include <gtest/gtest.h>

#include <set>

#include "base/rgb.h"
#include "base/to_size.h"
#include "report/font.h"
#include "report/shade.h"
#include "report/sheet.h"

namespace macadam {
namespace {

constexpr std::array<Rgb, 2> kPalette = {Rgb{10, 20, 30}, Rgb{200, 100, 0}};

Rgb at(const Image& image, int y, int x) {
  const uint8_t* p = image.at(y, x);
  return {p[0], p[1], p[2]};
}

Image mask_of(int height, int width, std::vector<uint8_t> values) {
  Image mask(height, width, 1);
  mask.pixels = std::move(values);
  return mask;
}

TEST(Picture, ColorsAMask) {
  const Image colored = colorize(mask_of(1, 3, {0, 1, 255}), kPalette);
  EXPECT_EQ(colored.channels, 3);
  EXPECT_EQ(at(colored, 0, 0), kPalette[0]);
  EXPECT_EQ(at(colored, 0, 1), kPalette[1]);
  EXPECT_EQ(at(colored, 0, 2), kIgnoredColor);
}

TEST(Picture, LaysColorsOverThePhoto) {
  Image photo(1, 3, 3);
  photo.pixels = {100, 100, 100, 0, 0, 0, 7, 8, 9};
  const Image mask = mask_of(1, 3, {1, 1, 255});
  const Image half = overlay(photo, mask, kPalette, 0.5);
  EXPECT_EQ(at(half, 0, 0), (Rgb{150, 100, 50}));
  EXPECT_EQ(at(half, 0, 1), (Rgb{100, 50, 0}));
  EXPECT_EQ(at(half, 0, 2), (Rgb{7, 8, 9}));
  EXPECT_EQ(overlay(photo, mask, kPalette, 0), photo);
  EXPECT_EQ(at(overlay(photo, mask, kPalette, 1), 0, 0), kPalette[1]);
  EXPECT_THROW(overlay(photo, mask_of(3, 1, {0, 0, 0}), kPalette), std::logic_error);
}

TEST(Picture, ReducesPhotosByAveragesAndMasksBySamples) {
  Image photo(2, 4, 3);
  for (size_t i = 0; i < photo.pixels.size(); ++i) photo.pixels[i] = static_cast<uint8_t>(i);
  const Image small = reduce(photo, 2);
  EXPECT_EQ(small.height, 1);
  EXPECT_EQ(small.width, 2);
  EXPECT_EQ(at(small, 0, 0), (Rgb{8, 9, 10}));  // (0 + 3 + 12 + 15) / 4, rounded up
  const Image labels = reduce(mask_of(2, 4, {0, 1, 2, 3, 4, 5, 6, 255}), 2);
  EXPECT_EQ(labels.pixels, (std::vector<uint8_t>{5, 255}));
  EXPECT_EQ(reduce(photo, 4), photo);
  EXPECT_EQ(reduce(Image(1, 100, 3), 10).height, 1);
}

TEST(Font, DrawsLetters) {
  EXPECT_EQ(text_width("", 2), 0);
  EXPECT_EQ(text_width("sky", 1), 17);
  EXPECT_EQ(text_width("sky", 2), 34);
  EXPECT_EQ(text_width("\u00FC", 1), 5);
  Image image(8, 12, 3);
  draw_text(image, 0, 0, "T", {255, 0, 0}, 1);
  const std::vector<std::string> expected = {"#####", "#.#.#", "..#..", "..#..",
                                             "..#..", "..#..", "..#..", "....."};
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 5; ++x) {
      const bool ink = expected[to_size(y)][to_size(x)] == '#';
      EXPECT_EQ(image.at(y, x)[0], ink ? 255 : 0) << y << ' ' << x;
    }
  }
  draw_text(image, -3, -3, "cut at every edge", {0, 255, 0}, 3);
}

TEST(ErrorPicture, IsRedWhereTheClassIsWrongAndDarkWhereThereIsNone) {
  Image photo(1, 3, 3);
  photo.pixels = {100, 100, 100, 100, 100, 100, 100, 100, 100};
  const Image truth = mask_of(1, 3, {1, 1, 255}), prediction = mask_of(1, 3, {1, 0, 0});
  const Image errors = error_picture(photo, truth, prediction, 2);
  EXPECT_EQ(at(errors, 0, 0), (Rgb{146, 146, 146}));
  EXPECT_EQ(at(errors, 0, 1), (Rgb{190, 62, 60}));
  EXPECT_EQ(at(errors, 0, 2), (Rgb{33, 33, 33}));
  EXPECT_THROW(error_picture(photo, mask_of(3, 1, {0, 0, 0}), prediction, 2), std::logic_error);
}

TEST(ConfusionPicture, ShadesSharesOfTheRows) {
  const std::vector<ClassScore> classes = {{"road", kPalette[0], 1, 1, 0},
                                           {"car", kPalette[1], 1, 1, 1}};
  const Image picture = confusion_picture(classes, std::vector<uint64_t>{10, 0, 0, 0});
  std::set<std::array<uint8_t, 3>> colors;
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) colors.insert(at(picture, y, x));
  }
  EXPECT_TRUE(colors.contains(blue_shade(1)));
  EXPECT_EQ(colors, (std::set<std::array<uint8_t, 3>>{{8, 48, 107}, {34, 34, 34}, {255, 255, 255}}))
      << "a class without labels has no shares";
  EXPECT_THROW(confusion_picture(classes, std::vector<uint64_t>{1, 2, 3}), std::logic_error);
}

TEST(SampleSheet, ShowsFourPicturesAndTheClassesThatOccur) {
  ReportSample sample{"a", Image(40, 60, 3), Image(40, 60, 1), Image(40, 60, 1)};
  sample.photo.pixels.assign(sample.photo.pixels.size(), 90);
  sample.truth.pixels.assign(sample.truth.pixels.size(), 1);
  sample.prediction.pixels.assign(sample.prediction.pixels.size(), 1);
  std::vector<ClassScore> classes = {{"road", kPalette[0], 1, 1, 0}, {"car", kPalette[1], 1, 1, 1}};
  const Image sheet = sample_sheet(sample, classes);
  EXPECT_EQ(sheet.width, 4 * 60 + 5 * 6);
  EXPECT_EQ(at(sheet, 0, 0), (Rgb{255, 255, 255}));
  const int y = 6 + 14 + 20;
  EXPECT_EQ(at(sheet, y, 6 + 30), (Rgb{90, 90, 90}));
  EXPECT_EQ(at(sheet, y, 2 * 6 + 60 + 30), kPalette[1]);
  EXPECT_EQ(at(sheet, y, 4 * 6 + 3 * 60 + 30), (Rgb{141, 141, 141})) << "no error";
  int road = 0, car = 0;
  for (int row = 6 + 14 + 40; row < sheet.height; ++row) {
    for (int x = 0; x < sheet.width; ++x) {
      road += at(sheet, row, x) == kPalette[0];
      car += at(sheet, row, x) == kPalette[1];
    }
  }
  EXPECT_EQ(road, 0);
  EXPECT_EQ(car, 36);
  // Many long names break into lines and stay inside.
  std::vector<ClassScore> many;
  for (int i = 0; i < 20; ++i) many.push_back({"a rather long name of a class", {}, 1, 1, 1});
  for (size_t i = 0; i < sample.truth.pixels.size(); ++i)
    sample.truth.pixels[i] = static_cast<uint8_t>(i % 20);
  EXPECT_EQ(sample_sheet(sample, many).height, sheet.height + 19 * 14);
}

}  // namespace
}  // namespace macadam
