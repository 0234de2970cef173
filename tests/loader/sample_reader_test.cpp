#include "loader/sample_reader.h"

#include <gtest/gtest.h>

#include "image/resize.h"
#include "tests/image/support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

TEST(StoredSample, LabelsKeepTheirSizeAndPhotosComeAsTheyAreLoaded) {
  const TemporaryFolder folder;
  put_camvid(folder.path(), "val", 1, 20, 30);
  const Dataset dataset = open_dataset(folder.path(), "val");
  const LabelSet labels = make_label_set("camvid11", VoidPolicy::ignore, folder.path());
  const Sample& sample = dataset.samples.at(0);
  const StoredSample stored(sample, dataset.masks, labels);
  const DecodedSample whole = read_sample(sample, dataset.masks, labels);
  EXPECT_EQ(stored.labels(), whole.labels);
  EXPECT_EQ(stored.ids(), read_labels(sample.mask));

  Image photo(9, 14, 3), at_size(9, 14, 1);
  load_sample(sample, dataset.masks, labels, 9, 14, true, photo.pixels, at_size.pixels);
  const std::vector<ImageSize> sizes{{20, 30}, {9, 14}};
  EXPECT_EQ(stored.photos_at(sizes), (std::vector<Image>{whole.photo, photo}));
  EXPECT_EQ(resize_nearest(stored.labels(), 9, 14), at_size);
}

TEST(StoredSample, AJpegIsReducedForEachSizeAsForThatAlone) {
  const TemporaryFolder folder;
  put_camvid(folder.path(), "val", 1, 40, 64);
  const Dataset dataset = open_dataset(folder.path(), "val");
  const LabelSet labels = make_label_set("camvid11", VoidPolicy::ignore, folder.path());
  const Sample& sample = dataset.samples.at(0);
  put_bytes(sample.image, make_jpeg(noise(40, 64, 3, 1), 90));  // told by its content
  std::vector<ImageSize> sizes;
  std::vector<Image> expected;
  for (const auto& [height, width] : {std::pair{40, 64}, {20, 32}, {9, 14}, {18, 28}, {60, 96}}) {
    sizes.push_back({height, width});
    Image photo(height, width, 3), mask(height, width, 1);
    load_sample(sample, dataset.masks, labels, height, width, true, photo.pixels, mask.pixels);
    expected.push_back(photo);
  }
  const StoredSample stored(sample, dataset.masks, labels);
  EXPECT_EQ(stored.photos_at(sizes), expected);
  EXPECT_NE(expected[1], resize_bilinear(expected[0], 20, 32));
}

TEST(StoredSample, WhatIsWrongIsNamed) {
  const TemporaryFolder folder;
  put_camvid(folder.path(), "val", 1, 20, 30);
  const Dataset dataset = open_dataset(folder.path(), "val");
  const LabelSet labels = make_label_set("camvid11", VoidPolicy::ignore, folder.path());
  const Sample& sample = dataset.samples.at(0);
  put_png(sample.mask, Image(20, 31, 1));
  expect_input_error([&] { StoredSample(sample, dataset.masks, labels); },
                     {sample.mask.string(), "31 x 20"});
  Image mask(20, 30, 1);
  *mask.at(7, 5) = 200;
  put_png(sample.mask, mask);
  expect_input_error([&] { StoredSample(sample, dataset.masks, labels); },
                     {sample.mask.string(), "200", "x=5, y=7"});
}

}  // namespace
}  // namespace macadam
