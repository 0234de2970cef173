// Which file of a folder is the mask of which photo, and what its values become.

#include "loader/mask_folder.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/folder.h"
#include "tests/base/temporary_folder.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

namespace fs = std::filesystem;

class MaskFolderTest : public ::testing::Test {
 protected:
  /// A mask of 3 x 2 pixels of one value.
  void write(const std::string& name, uint8_t value = 7) {
    Image mask(2, 3, 1);
    for (uint8_t& pixel : mask.pixels) pixel = value;
    fs::create_directories((folder_ / name).parent_path());
    write_png(folder_ / name, mask);
  }
  static Dataset dataset(Layout layout, const std::vector<std::string>& ids) {
    Dataset dataset;
    dataset.layout = layout;
    for (const std::string& id : ids) {
      Sample sample;
      sample.id = id;
      sample.image = "photos/" + id + ".jpg";
      dataset.samples.push_back(sample);
    }
    return dataset;
  }
  MaskFolder open(Layout layout, const std::vector<std::string>& ids,
                  MaskValues values = MaskValues::dataset) const {
    return MaskFolder(folder_.path(), dataset(layout, ids), labels_, values);
  }
  /// What stands in the first pixel of the mask that each photo has.
  std::vector<int> found(Layout layout, const std::vector<std::string>& ids) const {
    const MaskFolder masks = open(layout, ids);
    std::vector<int> values;
    for (size_t i = 0; i < ids.size(); ++i) values.push_back(masks.read(i, 2, 3).ids.pixels[0]);
    return values;
  }
  template <class Call>
  static std::string error_of(const Call& call) {
    try {
      call();
    } catch (const InputError& error) {
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }
  static void expect_words(const std::string& text, const std::vector<std::string>& words) {
    for (const std::string& word : words) {
      EXPECT_NE(text.find(word), std::string::npos) << word << " in " << text;
    }
  }

  TemporaryFolder folder_;
  LabelSet labels_ = make_label_set("trainids19");
};

TEST_F(MaskFolderTest, AMaskHasItsPhotosName) {
  write("b.png", 8);
  write("deep/er/a.png", 7);
  write("another.png", 11);
  EXPECT_EQ(found(Layout::plain, {"a", "b"}), (std::vector<int>{7, 8}));
}

TEST_F(MaskFolderTest, FoldersThatMakeANameUniqueAreOfThePath) {
  write("val/aachen/1.png", 7);
  write("val/bonn/1.png", 8);
  EXPECT_EQ(found(Layout::plain, {"aachen/1", "bonn/1"}), (std::vector<int>{7, 8}));
  // Masks that lie flat, where the name is enough.
  write("2.png", 11);
  EXPECT_EQ(found(Layout::plain, {"aachen/1", "cologne/2"}), (std::vector<int>{7, 11}));
}

TEST_F(MaskFolderTest, CityscapesMasksBeginWithCitySequenceAndFrame) {
  write("x/frankfurt_000000_000294_leftImg8bit.png", 7);
  write("frankfurt_000000_000576_pred_labelIds.png", 8);
  write("frankfurt_000001_000019.png", 11);
  EXPECT_EQ(found(Layout::cityscapes, {"frankfurt_000000_000294", "frankfurt_000000_000576",
                                       "frankfurt_000001_000019"}),
            (std::vector<int>{7, 8, 11}));
  write("mask-bonn_000000_000019.png", 12);
  write("lisbonn_000000_000019.png", 13);
  EXPECT_EQ(found(Layout::cityscapes, {"bonn_000000_000019"}), std::vector<int>{12});
  write("bonn_000000_000019_first.png", 17);  // as the script finds it
  EXPECT_EQ(found(Layout::cityscapes, {"bonn_000000_000019"}), std::vector<int>{17});
  write("ulm_1.png", 7);
  write("ulm_10.png", 8);
  EXPECT_EQ(found(Layout::cityscapes, {"ulm_1", "ulm_10"}), (std::vector<int>{7, 8}));
}

TEST_F(MaskFolderTest, OfThePredictionsFoldersTheOneOfIdsIsRead) {
  write("ids/a.png", 7);
  write("confidence/a.png", 200);
  mark_predictions(folder_ / "ids");
  mark_predictions(folder_ / "confidence");
  EXPECT_EQ(found(Layout::plain, {"a"}), std::vector<int>{7});
}

TEST_F(MaskFolderTest, MissingAndRepeatedMasksAreNamed) {
  write("a.png");
  expect_words(error_of([&] {
                 open(Layout::plain, {"a", "b", "c"});
               }),
               {"2 of 3 photos have no mask", "photos/b.jpg", "b.png"});
  write("x/a.png");
  expect_words(error_of([&] { open(Layout::plain, {"a"}); }),
               {"2 masks for one photo", "photos/a.jpg", "x/a.png"});
  write("ulm_1_leftImg8bit.png");
  write("ulm_1_color.png");
  expect_words(error_of([&] { open(Layout::cityscapes, {"ulm_1"}); }),
               {"2 masks for one photo", "ulm_1_color.png", "ulm_1_leftImg8bit.png"});
  write("2.png");
  expect_words(error_of([&] {
                 open(Layout::plain, {"aachen/2", "bonn/2"});
               }),
               {"one mask for two photos", "aachen/2.jpg", "bonn/2.jpg", "2.png"});
  fs::create_symlink("nowhere", folder_ / "dead.png");
  expect_words(error_of([&] { open(Layout::plain, {"b"}); }), {"dead.png"});
}

TEST_F(MaskFolderTest, ARunsFolderIsNamedAsOne) {
  write_file_atomically(folder_ / "best.safetensors", std::string("x"));
  expect_words(error_of([&] { open(Layout::plain, {"a"}); }),
               {"a run's folder", "best.safetensors"});
}

TEST_F(MaskFolderTest, ValuesAreIdsOrClasses) {
  write("road.png", 7);
  write("void.png", 4);
  const std::vector<std::string> ids{"road", "void"};
  const MaskFolder of_ids = open(Layout::plain, ids);
  EXPECT_EQ(of_ids.read(0, 2, 3).classes.pixels[5], 0);
  EXPECT_EQ(of_ids.read(0, 2, 3).ids.pixels[5], 7);
  EXPECT_EQ(of_ids.read(1, 2, 3).classes.pixels[5], kIgnore);
  EXPECT_EQ(of_ids.read(1, 2, 3).ids.pixels[5], 4);
  const MaskFolder of_classes = open(Layout::plain, ids, MaskValues::classes);
  EXPECT_EQ(of_classes.read(0, 2, 3).classes.pixels[5], 7);
  EXPECT_EQ(of_classes.read(0, 2, 3).ids.pixels[5], 20);  // traffic sign
  write("none.png", 255);
  const MaskFolder none = open(Layout::plain, {"none"}, MaskValues::classes);
  EXPECT_EQ(none.read(0, 2, 3).classes.pixels[0], kIgnore);
  EXPECT_EQ(none.read(0, 2, 3).ids.pixels[0], kIgnore);
}

TEST_F(MaskFolderTest, APalettesIndicesAreTheValues) {
  Image indices(2, 3, 1);
  indices.pixels = {7, 8, 11, 12, 13, 17};
  const std::vector<uint8_t> bytes = encode_png(indices, std::vector<Rgb>(34, Rgb{1, 2, 3}));
  const std::array parts{std::as_bytes(std::span(bytes))};
  write_file_atomically(folder_ / "a.png", parts);
  EXPECT_EQ(open(Layout::plain, {"a"}).read(0, 2, 3).ids, indices);
}

TEST_F(MaskFolderTest, WhatAMaskMayNotHoldIsNamedWithItsPixel) {
  Image mask(2, 3, 1);
  mask.pixels = {7, 7, 7, 7, 7, 34};
  write_png(folder_ / "a.png", mask);
  expect_words(error_of([&] { open(Layout::plain, {"a"}).read(0, 2, 3); }),
               {"34 at x=2, y=1", "no id of trainids19", "a.png", "--ids classes"});
  expect_words(error_of([&] { open(Layout::plain, {"a"}, MaskValues::classes).read(0, 2, 3); }),
               {"34 at x=2, y=1", "no class of trainids19", "a.png", "0 to 18"});
  expect_words(error_of([&] { open(Layout::plain, {"a"}).read(0, 4, 6); }),
               {"3 x 2 pixels, the labels 6 x 4", "a.png"});
  mask = Image(2, 3, 3);
  mask.pixels[4] = 9;
  write_png(folder_ / "a.png", mask);
  expect_words(error_of([&] { open(Layout::plain, {"a"}).read(0, 2, 3); }), {"coloured", "a.png"});
  expect_words(error_of([] { parse_mask_values("train"); }), {"'train'", "--ids", "dataset"});
}

}  // namespace
