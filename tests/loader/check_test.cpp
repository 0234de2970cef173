#include "loader/check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "loader/class_presence.h"
#include "loader/dataset.h"
#include "tests/image/support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

using Severity = CheckIssue::Severity;

bool has_issue(const CheckReport& report, Severity severity, const std::string& what,
               const std::string& where = "") {
  return std::any_of(report.issues.begin(), report.issues.end(), [&](const CheckIssue& issue) {
    return issue.severity == severity && issue.what.find(what) != std::string::npos &&
           issue.where.find(where) != std::string::npos;
  });
}

TEST(Check, ASoundDataSetHasNoIssuesAndCorrectCounts) {
  const TemporaryFolder folder;
  Image photo(2, 4, 3), mask(2, 4, 1);
  for (size_t i = 0; i < photo.pixels.size(); i += 3) photo.pixels[i] = i % 2 ? 255 : 0;
  mask.pixels = {0, 0, 0, 1, 1, 255, 255, 0};
  put_text(folder / "dataset.toml", "[[classes]]\nname = \"a\"\n[[classes]]\nname = \"b\"\n");
  put_png(folder / "images/train/x.png", photo);
  put_png(folder / "masks/train/x.png", mask);
  const LabelSet labels = make_label_set("custom", VoidPolicy::standard, folder.path());
  const CheckReport report = check_dataset(folder.path(), labels);
  EXPECT_TRUE(report.issues.empty());
  ASSERT_EQ(report.splits.size(), 1u);
  const SplitReport& train = report.splits[0];
  EXPECT_EQ(train.split, "train");
  EXPECT_EQ(train.samples, 1);
  EXPECT_EQ(train.min_height, 2);
  EXPECT_EQ(train.max_width, 4);
  EXPECT_EQ(train.classes, (std::vector<ClassFrequency>{{4, 1, 6}, {2, 1, 6}}));
  EXPECT_EQ(train.ignored_pixels, 2u);
  EXPECT_EQ(train.labeled_pixels(), 6u);
  EXPECT_DOUBLE_EQ(train.share(0), 4.0 / 6);
  EXPECT_DOUBLE_EQ(train.mean[0], 0.5);
  EXPECT_DOUBLE_EQ(train.std[0], 0.5);
  EXPECT_DOUBLE_EQ(train.mean[1], 0);
}

class CheckCamVid : public ::testing::Test {
 protected:
  CheckCamVid() {
    put_camvid(folder_.path(), "train", 4, 20, 30, 12, 1);
    put_camvid(folder_.path(), "val", 2, 20, 30, 12, 2);
  }
  CheckReport check(int threads = 2, const Progress& progress = {}) {
    return check_dataset(folder_.path(), make_label_set("camvid11"), threads, progress);
  }
  std::filesystem::path photo(const std::string& split, const std::string& number) const {
    return folder_.path() / split / (split + "_0000" + number + ".png");
  }
  std::filesystem::path mask(const std::string& split, const std::string& number) const {
    return folder_.path() / (split + "annot") / (split + "_0000" + number + ".png");
  }

  TemporaryFolder folder_;
};

TEST_F(CheckCamVid, FindsEveryKindOfError) {
  EXPECT_TRUE(check().issues.empty());

  Image bad = noise_mask(20, 30, 11, 9);
  *bad.at(3, 8) = 200;
  *bad.at(5, 1) = 201;
  put_png(mask("train", "0"), bad);
  put_png(mask("train", "1"), noise_mask(20, 29, 11, 9));
  put_text(photo("train", "2"), "");
  std::filesystem::remove(mask("train", "3"));
  put_png(folder_ / "valannot/orphan.png", bad);
  const CheckReport report = check();
  EXPECT_EQ(report.errors(), 4);
  EXPECT_TRUE(
      has_issue(report, Severity::error, "label id 200 at x=8, y=3", mask("train", "0").string()));
  EXPECT_TRUE(has_issue(report, Severity::error, "29 x 20", mask("train", "1").string()));
  EXPECT_TRUE(has_issue(report, Severity::error, "0 bytes", "train_00002"));
  EXPECT_TRUE(has_issue(report, Severity::error, mask("train", "3").string(),
                        photo("train", "3").string()));
  EXPECT_TRUE(has_issue(report, Severity::warning, "without a photo", "orphan.png"));
  EXPECT_EQ(report.splits[0].samples, 1);
  EXPECT_EQ(report.splits[0].unknown_pixels, 2u);
}

TEST_F(CheckCamVid, FindsLeaksWhateverTheFormat) {
  const Image shared = read_rgb(photo("train", "1"));
  const auto bmp = make_bmp(shared);
  std::filesystem::remove(photo("val", "0"));
  put_bytes(folder_ / "val/val_00000.bmp", bmp);
  const CheckReport report = check();
  EXPECT_EQ(report.errors(), 1);
  EXPECT_TRUE(has_issue(report, Severity::error, "in the splits train and val", "val_00000.bmp"));
}

TEST_F(CheckCamVid, WarnsOfDuplicatesSequencesAndAbsentClasses) {
  put_png(photo("train", "2"), read_rgb(photo("train", "1")));
  put_png(folder_ / "val/train_00009.png", noise(20, 30, 3, 77));
  put_png(folder_ / "valannot/train_00009.png", noise_mask(20, 30, 12, 77));
  for (const char* number : {"0", "1", "2", "3"}) {
    put_png(mask("train", number), noise_mask(20, 30, 10, 5));
  }
  const CheckReport report = check();
  EXPECT_EQ(report.errors(), 0);
  EXPECT_EQ(report.warnings(), 3);
  EXPECT_TRUE(has_issue(report, Severity::warning, "twice in the split train", "train_00002"));
  EXPECT_TRUE(has_issue(report, Severity::warning, "sequence train is in the splits"));
  EXPECT_TRUE(has_issue(report, Severity::warning, "class bicyclist has no pixel"));
}

TEST_F(CheckCamVid, AnEmptySplitIsAnError) {
  std::filesystem::create_directories(folder_ / "test");
  std::filesystem::create_directories(folder_ / "testannot");
  const CheckReport report = check();
  EXPECT_EQ(report.splits.size(), 3u);
  EXPECT_TRUE(has_issue(report, Severity::error, "split test is empty"));
}

TEST_F(CheckCamVid, DoesNotDependOnThreadsAndTellsItsProgress) {
  put_text(photo("train", "2"), "");
  put_text(photo("val", "1"), "x");
  int64_t calls = 0, last = 0, all = 0;
  const CheckReport one = check(1), many = check(8, [&](int64_t done, int64_t total) {
                                      ++calls;
                                      EXPECT_EQ(done, last + 1);
                                      last = done;
                                      all = total;
                                    });
  EXPECT_EQ(calls, 6);
  EXPECT_EQ(all, 6);
  EXPECT_EQ(one.issues, many.issues);
  EXPECT_EQ(one.splits[0].classes, many.splits[0].classes);
  EXPECT_EQ(one.splits[1].mean, many.splits[1].mean);
}

TEST_F(CheckCamVid, AnExceptionOfProgressReachesTheCaller) {
  EXPECT_THROW(check(4, [](int64_t, int64_t) { throw RunError("stop", "", ""); }), RunError);
}

TEST(Check, TheDummiesOfCityscapesAreNoError) {
  const TemporaryFolder folder;
  uint32_t seed = 0;
  for (const std::string split : {"train", "test"}) {
    const std::string city = split + "/ulm/ulm_00000" + std::to_string(seed) + "_000019_";
    put_png(folder / ("leftImg8bit/" + city + "leftImg8bit.png"), noise(8, 8, 3, ++seed));
    put_png(folder / ("gtFine/" + city + "gtFine_labelIds.png"),
            split == "test" ? Image(8, 8, 1) : noise_mask(8, 8, 34, 3));
  }
  for (const char* name : {"categories8", "trainids19"}) {
    const CheckReport report = check_dataset(folder.path(), make_label_set(name));
    EXPECT_EQ(report.errors(), 0) << name;
    EXPECT_TRUE(has_issue(report, Severity::warning, "the dummies of Cityscapes")) << name;
  }
}

TEST_F(CheckCamVid, TrainingNeedsTwoClassesWhateverTheThreads) {
  const LabelSet labels = make_label_set("camvid11");
  const auto complaint = [&](int threads) -> std::string {
    try {
      require_two_classes(open_dataset(folder_.path(), "train"), labels, threads);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(complaint(1), "");
  for (const char* number : {"0", "1", "2", "3"}) {
    put_png(mask("train", number), noise_mask(20, 30, 1, 1));
  }
  EXPECT_NE(complaint(1).find("every labelled pixel of the split train is \"sky\""),
            std::string::npos);
  EXPECT_EQ(complaint(4), complaint(1));
  for (const char* number : {"0", "1", "2", "3"}) put_text(mask("train", number), "damaged");
  EXPECT_NE(complaint(1).find("not a JPEG, PNG or BMP"), std::string::npos);
  EXPECT_EQ(complaint(4), complaint(1));
}

TEST(Check, AFolderThatIsNoDataSetIsRefused) {
  const TemporaryFolder folder;
  expect_input_error([&] { check_dataset(folder.path(), make_label_set("camvid11")); },
                     {"not a data set"});
}

TEST(Check, RealCamVid) {
  const char* root = std::getenv("MACADAM_CAMVID");
  if (!root) GTEST_SKIP() << "set MACADAM_CAMVID to the folder of CamVid";
  const CheckReport report = check_dataset(root, make_label_set("camvid11"));
  EXPECT_EQ(report.errors(), 0);
  EXPECT_TRUE(
      has_issue(report, Severity::warning, "sequence 0016E5 is in the splits train and val"));
  EXPECT_EQ(report.splits[0].samples, 367);
  EXPECT_EQ(report.splits[0].max_width, 480);
  EXPECT_EQ(report.splits[0].unknown_pixels, 0u);
}

}  // namespace
}  // namespace macadam
