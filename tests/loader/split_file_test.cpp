#include "loader/split_file.h"

#include <gtest/gtest.h>

#include "loader/check.h"
#include "tests/image/support.h"

namespace macadam {
namespace {

using namespace macadam::testing;
namespace fs = std::filesystem;

/// A CamVid data set of 4 and 2 photos, "data", and a division of it, "new/division.toml".
class SplitFileTest : public ::testing::Test {
 protected:
  SplitFileTest() {
    put_camvid(folder_ / "data", "train", 4, 6, 8, 12, 1);
    put_camvid(folder_ / "data", "val", 2, 6, 8, 12, 2);
    fs::create_directories(folder_ / "new");
    for (const char* split : {"train", "val"}) {
      for (const Sample& sample : scan_split(folder_ / "data", split).dataset.samples) {
        entries_.push_back({split, sample.id});
      }
    }
  }
  fs::path file() const { return folder_ / "new/division.toml"; }
  void write(const std::map<std::string, std::vector<SplitEntry>>& splits) const {
    write_split_file(file(), {folder_ / "data", "random", 7, splits});
  }
  void expect_fault(const std::string& text, const std::vector<std::string>& words) const {
    put_text(file(), text);
    expect_input_error([this] { read_split_file(file()); }, words);
  }

  TemporaryFolder folder_;
  std::vector<SplitEntry> entries_;
};

TEST_F(SplitFileTest, IsReadAsItWasWritten) {
  write({{"train", {entries_[0], entries_[4]}}, {"it's", {entries_[1]}}});
  const SplitFile read = read_split_file(file());
  EXPECT_TRUE(fs::equivalent(read.dataset, folder_ / "data"));
  EXPECT_EQ(read.by, "random");
  EXPECT_EQ(read.seed, 7);
  EXPECT_EQ(read.splits.at("train"), (std::vector<SplitEntry>{entries_[0], entries_[4]}));
  EXPECT_EQ(read.splits.at("it's"), std::vector<SplitEntry>{entries_[1]});
  const std::vector<uint8_t> bytes = get_bytes(file());
  EXPECT_NE(std::string(bytes.begin(), bytes.end()).find("dataset = \"../data\""),
            std::string::npos);
  EXPECT_NE(std::string(bytes.begin(), bytes.end()).find("\ntrain = [\n  \"train/"),
            std::string::npos);
  // Both move together.
  fs::create_directories(folder_ / "moved");
  fs::rename(folder_ / "data", folder_ / "moved/data");
  fs::rename(folder_ / "new", folder_ / "moved/new");
  EXPECT_EQ(open_dataset(folder_ / "moved/new/division.toml", "train").samples.size(), 2u);
}

TEST_F(SplitFileTest, StandsWhereADataSetDoes) {
  write({{"train", {entries_[5], entries_[1]}}, {"val", {entries_[0]}}, {"test", {entries_[2]}}});
  EXPECT_TRUE(is_split_file(file()));
  EXPECT_FALSE(is_split_file(folder_ / "data"));
  EXPECT_EQ(recognize_layout(file()), Layout::camvid);
  EXPECT_EQ(recognize_ids(file()), IdSpace::camvid);
  EXPECT_EQ(make_label_set(kAutoLabelSet, VoidPolicy::standard, file()).name, "camvid11");
  EXPECT_EQ(list_splits(file()), (std::vector<std::string>{"train", "val", "test"}));
  const Dataset train = open_dataset(file(), "train");
  EXPECT_EQ(train.split, "train");
  EXPECT_EQ(train.name, "data");
  ASSERT_EQ(train.samples.size(), 2u);
  for (const Sample& sample : train.samples) {
    EXPECT_TRUE(fs::exists(sample.image)) << sample.image;
    EXPECT_TRUE(fs::exists(sample.mask)) << sample.mask;
  }
  expect_input_error([this] { open_dataset(file(), "other"); }, {"\"other\"", "train, val"});
}

TEST_F(SplitFileTest, PhotosOfOneNameAreToldApartByTheSplitThatTheyAreOf) {
  const Sample val = open_dataset(folder_ / "data", "val").samples[0];
  const std::string name = entries_[0].id;
  fs::rename(val.image, val.image.parent_path() / (name + ".png"));
  fs::rename(val.mask, val.mask.parent_path() / (name + ".png"));
  write({{"train", {entries_[0], {"val", name}, entries_[1]}}, {"val", {entries_[5]}}});
  std::vector<std::string> ids;
  for (const Sample& sample : open_dataset(file(), "train").samples) ids.push_back(sample.id);
  EXPECT_EQ(ids,
            (std::vector<std::string>{"train/" + name, "train/" + entries_[1].id, "val/" + name}));
  EXPECT_EQ(open_dataset(file(), "val").samples[0].id, entries_[5].id);
}

TEST_F(SplitFileTest, LeaksAreFoundAsInAFolder) {
  const Sample first = open_dataset(folder_ / "data", "train").samples[0];
  fs::copy_file(first.image, first.image.parent_path() / "copy.png");
  fs::copy_file(first.mask, first.mask.parent_path() / "copy.png");
  write({{"train", {entries_[0], entries_[1]}}, {"val", {{"train", "copy"}, entries_[2]}}});
  const CheckReport report = check_dataset(file(), make_label_set("camvid11"));
  ASSERT_EQ(report.errors(), 1);
  EXPECT_EQ(report.issues[0].what, "one photo is in the splits train and val");
}

TEST_F(SplitFileTest, WhatIsMissingIsNamed) {
  write({{"train", {entries_[0], {"train", "gone"}}}});
  expect_input_error([this] { open_dataset(file(), "train"); },
                     {"photo \"gone\"", "\"train\"", "division.toml"});
  write({{"train", {{"summer", "gone"}}}});
  expect_input_error([this] { open_dataset(file(), "train"); }, {"no split \"summer\""});
  const Sample first = open_dataset(folder_ / "data", "train").samples[0];
  fs::remove(first.mask);
  write({{"train", {entries_[0], entries_[1]}}});
  expect_input_error([this] { open_dataset(file(), "train"); },
                     {"1 of 2 photos have no mask", first.image.string()});
}

TEST_F(SplitFileTest, FaultsNameTheirLine) {
  const std::string begin = "dataset = \"../data\"\n";
  expect_fault("dataset = ", {"division.toml"});
  expect_fault(begin, {"\"splits\" is missing", "division.toml"});
  expect_fault("[splits]\ntrain = [\"train/a\"]\n", {"\"dataset\" is missing"});
  expect_fault("dataset = \"../gone\"\n[splits]\ntrain = [\"train/a\"]\n",
               {"gone", "no folder", "division.toml:1"});
  expect_fault("dataset = 3\n[splits]\ntrain = [\"train/a\"]\n", {"'dataset'", "division.toml:1"});
  expect_fault(begin + "lr = 0.1\n[splits]\ntrain = [\"train/a\"]\n",
               {"unknown key 'lr'", "division.toml:2"});
  expect_fault(begin + "seed = -1\n[splits]\ntrain = [\"train/a\"]\n",
               {"\"seed\"", "division.toml:2"});
  expect_fault(begin + "splits = 3\n", {"\"splits\"", "division.toml:2"});
  expect_fault(begin + "[splits]\ntrain = []\n", {"'train'", "division.toml:3"});
  expect_fault(begin + "[splits]\ntrain = [\"a\"]\n", {"'a' is no photo", "division.toml:3"});
  expect_fault(begin + "[splits]\ntrain = [\"/a\"]\n", {"'/a' is no photo"});
  expect_fault(begin + "[splits]\ntrain = [4]\n", {"'train'", "division.toml:3"});
  expect_fault(begin + "[splits]\ntrain = [\"train/a\"]\nval = [\"train/a\"]\n",
               {"'train/a' stands twice", "division.toml:4"});
}

}  // namespace
}  // namespace macadam
