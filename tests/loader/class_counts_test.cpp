#include "loader/class_counts.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "loader/check.h"
#include "loader/pack_writer.h"
#include "synth/streets.h"
#include "tests/base/temporary_folder.h"

namespace macadam {
namespace {

// A check reads the photos too, and counts the same.
TEST(ClassCounts, AreThoseOfACheckOfFoldersAndPacks) {
  const testing::TemporaryFolder folder;
  write_streets(folder / "streets",
                {.train_images = 70, .val_images = 2, .height = 32, .width = 64});
  const LabelSet labels = make_label_set("trainids19");
  write_pack(folder / "streets", labels, folder / "streets.pack", {});
  const CheckReport report = check_dataset(folder / "streets", labels);
  ASSERT_EQ(report.splits[0].split, "train");
  int64_t calls = 0, last = 0;
  const auto progress = [&](int64_t done, int64_t total) {
    ++calls;
    last = done;
    EXPECT_EQ(total, 70);
  };
  EXPECT_EQ(count_classes(open_dataset(folder / "streets", "train"), labels, 2, progress),
            report.splits[0].classes);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(last, 70);
  EXPECT_EQ(count_classes(
                open_dataset(folder / "streets.pack", "train"),
                make_label_set(kAutoLabelSet, VoidPolicy::standard, folder / "streets.pack"), 1),
            report.splits[0].classes);
}

TEST(ClassCounts, AnUnknownIdIsNamed) {
  const testing::TemporaryFolder folder;
  write_streets(folder / "streets",
                {.train_images = 2, .val_images = 2, .height = 32, .width = 64});
  LabelSet labels = make_label_set("categories8");
  labels.known_id[7] = false;  // road
  EXPECT_THROW(count_classes(open_dataset(folder / "streets", "train"), labels), InputError);
}

}  // namespace
}  // namespace macadam
