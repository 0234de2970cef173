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
  EXPECT_EQ(stored.photo_at(20, 30), whole.photo);

  Image photo(9, 14, 3), at_size(9, 14, 1);
  load_sample(sample, dataset.masks, labels, 9, 14, true, photo.pixels, at_size.pixels);
  EXPECT_EQ(stored.photo_at(9, 14), photo);
  EXPECT_EQ(resize_nearest(stored.labels(), 9, 14), at_size);
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
