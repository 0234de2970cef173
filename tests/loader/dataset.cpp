#include "loader/dataset.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "tests/loader/support.h"

namespace macadam {
namespace {

using namespace test;
namespace fs = std::filesystem;

// Finding files looks at names only, so these are empty.
void touch(const fs::path& path) { put_text(path, ""); }

void put_cityscapes(const fs::path& root, const std::string& split, const std::string& city,
                    const std::string& frame, const std::string& extension = ".png") {
  const std::string id = city + "_" + frame;
  touch(root / "leftImg8bit" / split / city / (id + "_leftImg8bit" + extension));
  touch(root / "gtFine" / split / city / (id + "_gtFine_labelIds.png"));
}

TEST(Dataset, Cityscapes) {
  const TempFolder folder;
  put_cityscapes(folder.path(), "train", "ulm", "000001_000019");
  put_cityscapes(folder.path(), "train", "aachen", "000173_000019", ".jpg");
  put_cityscapes(folder.path(), "train", "aachen", "000002_000019");
  put_cityscapes(folder.path(), "val", "frankfurt", "000000_000294");
  // Beside the masks lie other files, which are not masks of ids.
  touch(folder / "gtFine/train/ulm/ulm_000001_000019_gtFine_color.png");
  touch(folder / "gtFine/train/ulm/ulm_000001_000019_gtFine_polygons.json");
  touch(folder / "leftImg8bit/train/ulm/.hidden_leftImg8bit.png");

  EXPECT_EQ(recognize_layout(folder.path()), Layout::cityscapes);
  EXPECT_EQ(list_splits(folder.path()), (std::vector<std::string>{"train", "val"}));
  const Dataset train = open_dataset(folder.path(), "train");
  EXPECT_EQ(train.name, folder.path().filename().string());
  EXPECT_EQ(train.split, "train");
  ASSERT_EQ(train.samples.size(), 3u);
  EXPECT_EQ(train.samples[0].id, "aachen_000002_000019");
  EXPECT_EQ(train.samples[0].sequence, "aachen_000002");
  EXPECT_EQ(train.samples[1].id, "aachen_000173_000019");
  EXPECT_EQ(train.samples[1].image.extension(), ".jpg");
  EXPECT_EQ(train.samples[2].id, "ulm_000001_000019");
  EXPECT_EQ(train.samples[2].mask,
            folder / "gtFine/train/ulm/ulm_000001_000019_gtFine_labelIds.png");
  EXPECT_EQ(default_label_set(train.layout), "categories8");
}

TEST(Dataset, CamVid) {
  const TempFolder folder;
  for (const char* name : {"0006R0_f00930", "0001TP_006690", "Seq05VD_f00000", "still"}) {
    touch(folder / "train" / (std::string(name) + ".png"));
    touch(folder / "trainannot" / (std::string(name) + ".png"));
  }
  const Dataset train = open_dataset(folder.path(), "train");
  EXPECT_EQ(train.layout, Layout::camvid);
  ASSERT_EQ(train.samples.size(), 4u);
  EXPECT_EQ(train.samples[0].id, "0001TP_006690");
  EXPECT_EQ(train.samples[0].sequence, "0001TP");
  EXPECT_EQ(train.samples[1].sequence, "0006R0");
  EXPECT_EQ(train.samples[2].sequence, "Seq05VD");
  EXPECT_EQ(train.samples[3].sequence, "");
}

constexpr std::string_view kTwoClasses =
    "name = \"yard\"\n[[classes]]\nname = \"a\"\n[[classes]]\nname = \"b\"\n";

TEST(Dataset, PlainWithSplitFolders) {
  const TempFolder folder;
  put_text(folder / "dataset.toml", kTwoClasses);
  touch(folder / "images/val/x.jpg");
  touch(folder / "masks/val/x.png");
  touch(folder / "images/extra/x.jpg");
  touch(folder / "images/train/deep/b.JPG");
  touch(folder / "masks/train/deep/b.png");
  touch(folder / "images/train/a_0001.png");
  touch(folder / "masks/train/a_0001.png");
  EXPECT_EQ(list_splits(folder.path()), (std::vector<std::string>{"train", "val", "extra"}));
  const Dataset train = open_dataset(folder.path(), "train");
  EXPECT_EQ(train.layout, Layout::plain);
  EXPECT_EQ(train.name, "yard");
  ASSERT_EQ(train.samples.size(), 2u);
  EXPECT_EQ(train.samples[0].id, "a_0001");
  EXPECT_EQ(train.samples[0].sequence, "a");
  EXPECT_EQ(train.samples[1].id, "deep/b");
  EXPECT_EQ(train.samples[1].mask, folder / "masks/train/deep/b.png");
}

TEST(Dataset, PlainWithoutSplitsIsOneWhole) {
  const TempFolder folder;
  put_text(folder / "dataset.toml", kTwoClasses);
  touch(folder / "images/x.png");
  touch(folder / "masks/x.png");
  EXPECT_EQ(list_splits(folder.path()), (std::vector<std::string>{"all"}));
  EXPECT_EQ(open_dataset(folder.path(), "train").split, kWholeSplit);
  EXPECT_EQ(open_dataset(folder.path(), "val").samples.size(), 1u);
}

TEST(Dataset, PlainWithNamedFolders) {
  const TempFolder folder;
  put_text(folder / "dataset.toml",
           std::string(kTwoClasses) + "[splits]\ntrain = {images = \"p\", masks = \"m\"}\n");
  touch(folder / "p/x.png");
  touch(folder / "m/x.png");
  const Dataset train = open_dataset(folder.path(), "train");
  ASSERT_EQ(train.samples.size(), 1u);
  EXPECT_EQ(train.samples[0].mask, folder / "m/x.png");
  put_text(folder / "dataset.toml",
           std::string(kTwoClasses) + "[splits]\ntrain = {image = \"p\"}\n");
  expect_input_error([&] { open_dataset(folder.path(), "train"); },
                     {"unknown key \"image\"", "\"images\"", "line 7"});
}

TEST(Dataset, AMissingMaskIsNamedWithItsPhoto) {
  const TempFolder folder;
  put_cityscapes(folder.path(), "val", "ulm", "000001_000019");
  touch(folder / "leftImg8bit/val/ulm/ulm_000002_000019_leftImg8bit.png");
  expect_input_error([&] { open_dataset(folder.path(), "val"); },
                     {"1 of 2 photos have no mask", "ulm_000002_000019_leftImg8bit.png",
                      "gtFine/val/ulm/ulm_000002_000019_gtFine_labelIds.png"});
  const SplitScan scan = scan_split(folder.path(), "val");
  EXPECT_EQ(scan.dataset.samples.size(), 1u);
  EXPECT_EQ(scan.without_mask.size(), 1u);
  EXPECT_TRUE(scan.without_photo.empty());
}

TEST(Dataset, MasksWithoutPhotosAreListed) {
  const TempFolder folder;
  touch(folder / "train/a.png");
  touch(folder / "trainannot/a.png");
  touch(folder / "trainannot/b.png");
  const SplitScan scan = scan_split(folder.path(), "train");
  EXPECT_EQ(scan.without_photo, (std::vector<fs::path>{folder / "trainannot/b.png"}));
  EXPECT_EQ(open_dataset(folder.path(), "train").samples.size(), 1u);
}

TEST(Dataset, AMaskOfAnotherFormatIsNamed) {
  const TempFolder folder;
  const auto refuses = [&](const std::string& mask, const std::vector<std::string>& parts) {
    touch(folder / mask);
    expect_input_error([&] { open_dataset(folder.path(), "train"); }, parts);
    const SplitScan scan = scan_split(folder.path(), "train");
    ASSERT_EQ(scan.without_mask.size(), 1u);
    const std::string named = name_missing_mask(scan.without_mask[0]);
    EXPECT_NE(named.find(fs::path(mask).filename().string()), std::string::npos) << named;
    fs::remove(folder / mask);
  };
  touch(folder / "train/a.png");
  refuses("trainannot/a.JPG", {"1 of 1 photos", "trainannot/a.JPG is there", "JPEG is lossy"});
  refuses("trainannot/a.jpeg", {"JPEG is lossy", "PNG"});
  refuses("trainannot/a.tif", {"trainannot/a.tif is there", "8-bit greyscale PNG"});
}

TEST(Dataset, TrainIdsInThePlaceOfLabelIdsAreNamed) {
  const TempFolder folder;
  touch(folder / "leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png");
  touch(folder / "gtFine/val/ulm/ulm_000001_000019_gtFine_labelTrainIds.png");
  expect_input_error(
      [&] { open_dataset(folder.path(), "val"); },
      {"ulm_000001_000019_gtFine_labelTrainIds.png holds train ids", "labelIds", "trainids19"});
}

TEST(Dataset, OnlyRegularFilesAreSamples) {
  const TempFolder folder;
  touch(folder / "train/a.png");
  touch(folder / "trainannot/a.png");
  touch(folder / "train/._a.png");
  touch(folder / "train/__MACOSX/a.png");
  fs::create_directory_symlink("..", folder / "train/up");
  fs::create_directory_symlink("..", folder / "train/up_too");
  EXPECT_EQ(open_dataset(folder.path(), "train").samples.size(), 1u);
  fs::create_symlink("/dev/zero", folder / "train/b.png");
  expect_input_error([&] { open_dataset(folder.path(), "train"); },
                     {"not a regular file", "train/b.png"});
  fs::remove(folder / "train/b.png");
  fs::create_symlink("gone.png", folder / "trainannot/b.png");
  expect_input_error([&] { open_dataset(folder.path(), "train"); },
                     {"leads nowhere", "trainannot/b.png"});
  EXPECT_EQ(scan_split(folder.path(), "train").unusable.size(), 1u);
}

TEST(Dataset, AFolderOfDevicesIsAnEmptySplit) {
  const TempFolder folder;
  fs::create_directories(folder / "dev");
  ASSERT_EQ(::mkfifo((folder / "dev/pipe").c_str(), 0600), 0);
  fs::create_symlink("/dev/zero", folder / "dev/zero");
  fs::create_symlink("/dev/stdin", folder / "dev/stdin");
  put_text(folder / "dataset.toml",
           std::string(kTwoClasses) + "[splits]\ntrain = {images = \"dev\", masks = \"dev\"}\n");
  expect_input_error([&] { open_dataset(folder.path(), "train"); }, {"\"train\" is empty"});
}

TEST(Dataset, WrongFoldersSayWhatWasLookedFor) {
  const TempFolder folder;
  expect_input_error([&] { open_dataset(folder / "absent", "train"); },
                     {"absent", "does not exist"});
  expect_input_error([&] { open_dataset(folder.path(), "train"); },
                     {"not a data set", "leftImg8bit", "trainannot", "dataset.toml"});
  touch(folder / "file");
  expect_input_error([&] { open_dataset(folder / "file", "train"); }, {"this is a file"});
}

TEST(Dataset, EmptyAndAbsentSplits) {
  const TempFolder folder;
  fs::create_directories(folder / "train");
  fs::create_directories(folder / "trainannot");
  expect_input_error([&] { open_dataset(folder.path(), "train"); }, {"\"train\" is empty"});
  expect_input_error([&] { open_dataset(folder.path(), "val"); },
                     {"no split \"val\"", "it has train"});
  const TempFolder bare;
  fs::create_directories(bare / "leftImg8bit");
  expect_input_error([&] { open_dataset(bare.path(), "train"); }, {"no split at all"});
}

TEST(Dataset, TwoPhotosOfOneNameAreRefused) {
  const TempFolder folder;
  touch(folder / "train/a.png");
  touch(folder / "train/a.jpg");
  touch(folder / "trainannot/a.png");
  expect_input_error([&] { open_dataset(folder.path(), "train"); },
                     {"two photos", "a.png", "a.jpg"});
}

TEST(Dataset, RealCamVid) {
  const char* root = std::getenv("MACADAM_CAMVID");
  if (!root) GTEST_SKIP() << "set MACADAM_CAMVID to the folder of CamVid";
  const Dataset train = open_dataset(root, "train"), val = open_dataset(root, "val");
  EXPECT_EQ(train.samples.size(), 367u);
  EXPECT_EQ(val.samples.size(), 101u);
  EXPECT_EQ(val.samples.front().sequence, "0016E5");
}

}  // namespace
}  // namespace macadam
