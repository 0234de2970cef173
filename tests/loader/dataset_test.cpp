#include "loader/dataset.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "tests/image/support.h"

namespace macadam {
namespace {

using namespace macadam::testing;
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
  const TemporaryFolder folder;
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
  EXPECT_EQ(recognize_ids(folder.path()), IdSpace::cityscapes);
}

TEST(Dataset, CamVid) {
  const TemporaryFolder folder;
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
  const TemporaryFolder folder;
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
  const TemporaryFolder folder;
  put_text(folder / "dataset.toml", kTwoClasses);
  touch(folder / "images/x.png");
  touch(folder / "masks/x.png");
  EXPECT_EQ(list_splits(folder.path()), (std::vector<std::string>{"all"}));
  EXPECT_EQ(open_dataset(folder.path(), "train").split, kWholeSplit);
  EXPECT_EQ(open_dataset(folder.path(), "val").samples.size(), 1u);
  EXPECT_EQ(open_dataset(folder.path(), "all").samples.size(), 1u);
  expect_input_error([&] { open_dataset(folder.path(), "tets"); }, {"no split \"tets\"", "all"});
}

TEST(Dataset, PlainWithNamedFolders) {
  const TemporaryFolder folder;
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

TEST(Dataset, OneFolderIsNotTwoSplits) {
  const TemporaryFolder folder;
  touch(folder / "p/x.png");
  touch(folder / "m/x.png");
  put_text(folder / "dataset.toml", std::string(kTwoClasses) +
                                        "[splits.train]\nimages = \"p\"\nmasks = \"m\"\n"
                                        "[splits.val]\nimages = \"./p/\"\nmasks = \"m\"\n");
  expect_input_error([&] { list_splits(folder.path()); },
                     {"\"train\" and \"val\"", "the same photos", "line 9"});
}

TEST(Dataset, DatasetTomlDescribesTheMasksOfOtherLayouts) {
  const TemporaryFolder streets, camvid;
  put_cityscapes(streets.path(), "train", "ulm", "000001_000019");
  put_text(streets / "dataset.toml", kTwoClasses);
  EXPECT_EQ(recognize_layout(streets.path()), Layout::cityscapes);
  EXPECT_EQ(recognize_ids(streets.path()), IdSpace::own);
  const Dataset train = open_dataset(streets.path(), "train");
  EXPECT_EQ(train.name, "yard");
  EXPECT_EQ(train.samples.size(), 1u);

  touch(camvid / "train/a.png");
  touch(camvid / "trainannot/a.png");
  put_text(camvid / "dataset.toml", "mask_format = \"indices\"\nlabel_ids = \"cityscapes\"\n");
  EXPECT_EQ(recognize_layout(camvid.path()), Layout::camvid);
  EXPECT_EQ(recognize_ids(camvid.path()), IdSpace::cityscapes);
  EXPECT_EQ(open_dataset(camvid.path(), "train").masks.format, MaskFormat::indices);
  // Folders of its own make it plain.
  put_text(
      camvid / "dataset.toml",
      std::string(kTwoClasses) + "[splits]\nval = {images = \"train\", masks = \"trainannot\"}\n");
  EXPECT_EQ(recognize_layout(camvid.path()), Layout::plain);
  EXPECT_EQ(open_dataset(camvid.path(), "val").samples.size(), 1u);
}

/// As a PASCAL VOC devkit lays it out: photos of all splits in one folder, which lists divide.
class VocFolder : public ::testing::Test {
 protected:
  VocFolder() {
    put_text(folder_ / "dataset.toml", kTwoClasses);
    for (const char* name : {"2007_000032", "2007_000033", "my photo 1", "2007_000039"}) {
      touch(folder_ / "JPEGImages" / (std::string(name) + ".jpg"));
      touch(folder_ / "SegmentationClass" / (std::string(name) + ".png"));
    }
    touch(folder_ / "JPEGImages/2007_000042.jpg");
    list("train",
         "\xEF\xBB\xBF"
         "2007_000032\r\n\r\nmy photo 1\r\n2007_000032\r\n");
    list("val", "2007_000039 1");
    list("trainval", "2007_000032\n2007_000039\n");
  }
  void list(const std::string& name, std::string_view text) {
    put_text(folder_ / "ImageSets/Segmentation" / (name + ".txt"), text);
  }
  std::vector<std::string> ids(const std::string& split) {
    std::vector<std::string> ids;
    for (const Sample& sample : open_dataset(folder_.path(), split).samples) {
      ids.push_back(sample.id);
    }
    return ids;
  }

  TemporaryFolder folder_;
};

TEST_F(VocFolder, ListsAreSplits) {
  touch(folder_ / "ImageSets/Main/aeroplane_train.txt");  // of another task
  EXPECT_EQ(list_splits(folder_.path()), (std::vector<std::string>{"train", "val"}));
  EXPECT_EQ(ids("train"), (std::vector<std::string>{"2007_000032", "my photo 1"}));
  EXPECT_EQ(ids("val"), (std::vector<std::string>{"2007_000039"}));
  // What other lists name is no mask without a photo.
  EXPECT_TRUE(scan_split(folder_.path(), "val").without_photo.empty());
  list("train", "JPEGImages/2007_000033.jpg SegmentationClass/2007_000033.png\n2007_000032.jpg\n");
  EXPECT_EQ(ids("train"), (std::vector<std::string>{"2007_000032", "2007_000033"}));
}

TEST_F(VocFolder, AListedPhotoIsThere) {
  list("val", "2007_000039\n2007_000040\n");
  expect_input_error([&] { ids("val"); }, {"2007_000040", "JPEGImages", "val.txt, line 2"});
}

TEST_F(VocFolder, ATestListWithoutMasksIsUnlabeled) {
  list("test", "2007_000042\n");
  EXPECT_TRUE(is_unlabeled(scan_split(folder_.path(), "test")));
  list("test", "2007_000042\n2007_000033\n");
  EXPECT_FALSE(is_unlabeled(scan_split(folder_.path(), "test")));
  list("val", "2007_000042\n");
  EXPECT_FALSE(is_unlabeled(scan_split(folder_.path(), "val")));
}

TEST_F(VocFolder, DatasetTomlNamesLists) {
  put_text(folder_ / "dataset.toml", std::string(kTwoClasses) + R"(
[splits.train]
images = "JPEGImages"
masks = "SegmentationClass"
list = "mine.txt"
)");
  put_text(folder_ / "mine.txt", "2007_000033\n");
  EXPECT_EQ(list_splits(folder_.path()), (std::vector<std::string>{"train"}));
  EXPECT_EQ(ids("train"), (std::vector<std::string>{"2007_000033"}));
}

TEST_F(VocFolder, ItsClassesHaveToBeNamed) {
  std::filesystem::remove(folder_ / "dataset.toml");
  expect_input_error([&] { list_splits(folder_.path()); }, {"no dataset.toml", "name the classes"});
}

TEST(Dataset, AMissingMaskIsNamedWithItsPhoto) {
  const TemporaryFolder folder;
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
  const TemporaryFolder folder;
  touch(folder / "train/a.png");
  touch(folder / "trainannot/a.png");
  touch(folder / "trainannot/b.png");
  const SplitScan scan = scan_split(folder.path(), "train");
  EXPECT_EQ(scan.without_photo, (std::vector<fs::path>{folder / "trainannot/b.png"}));
  EXPECT_EQ(open_dataset(folder.path(), "train").samples.size(), 1u);
}

TEST(Dataset, AMaskOfAnotherFormatIsNamed) {
  const TemporaryFolder folder;
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
  const TemporaryFolder folder;
  touch(folder / "leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png");
  touch(folder / "gtFine/val/ulm/ulm_000001_000019_gtFine_labelTrainIds.png");
  expect_input_error(
      [&] { open_dataset(folder.path(), "val"); },
      {"ulm_000001_000019_gtFine_labelTrainIds.png holds train ids", "labelIds", "trainids19"});
}

TEST(Dataset, OnlyRegularFilesAreSamples) {
  const TemporaryFolder folder;
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
  const TemporaryFolder folder;
  fs::create_directories(folder / "dev");
  ASSERT_EQ(::mkfifo((folder / "dev/pipe").c_str(), 0600), 0);
  fs::create_symlink("/dev/zero", folder / "dev/zero");
  fs::create_symlink("/dev/stdin", folder / "dev/stdin");
  put_text(folder / "dataset.toml",
           std::string(kTwoClasses) + "[splits]\ntrain = {images = \"dev\", masks = \"dev\"}\n");
  expect_input_error([&] { open_dataset(folder.path(), "train"); }, {"\"train\" is empty"});
}

TEST(Dataset, WrongFoldersSayWhatWasLookedFor) {
  const TemporaryFolder folder;
  expect_input_error([&] { open_dataset(folder / "absent", "train"); },
                     {"absent", "does not exist"});
  expect_input_error([&] { open_dataset(folder.path(), "train"); },
                     {"not a data set", "leftImg8bit", "trainannot", "dataset.toml"});
  touch(folder / "file");
  expect_input_error([&] { open_dataset(folder / "file", "train"); }, {"this is a file"});
}

TEST(Dataset, EmptyAndAbsentSplits) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "train");
  fs::create_directories(folder / "trainannot");
  expect_input_error([&] { open_dataset(folder.path(), "train"); }, {"\"train\" is empty"});
  expect_input_error([&] { open_dataset(folder.path(), "val"); },
                     {"no split \"val\"", "it has train"});
  const TemporaryFolder bare;
  fs::create_directories(bare / "leftImg8bit");
  expect_input_error([&] { open_dataset(bare.path(), "train"); }, {"no split at all"});
}

TEST(Dataset, TwoPhotosOfOneNameAreRefused) {
  const TemporaryFolder folder;
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
