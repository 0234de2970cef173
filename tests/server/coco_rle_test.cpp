// Source of the expected text: pycocotools 2.0.7, mask.encode of the same mask.

#include "server/api/coco_rle.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/to_size.h"

using namespace macadam;

namespace {

/// As maskApi.c's rleFrString reads it.
std::vector<int64_t> runs_of(const std::string& counts) {
  std::vector<int64_t> runs;
  for (size_t i = 0; i < counts.size();) {
    int64_t value = 0;
    int shift = 0;
    for (bool more = true; more; ++i, shift += 5) {
      const int64_t bits = counts.at(i) - '0';
      value |= (bits & 0x1f) << shift;
      more = (bits & 0x20) != 0;
      if (!more && (bits & 0x10) != 0) value |= -1LL << (shift + 5);
    }
    if (runs.size() > 2) value += runs[runs.size() - 2];
    runs.push_back(value);
  }
  return runs;
}

TEST(CocoRle, AMaskOfAFewPixels) {
  // Columns: 0 1 | 1 1 | 0 1
  const std::vector<uint8_t> classes{0, 1, 0, 1, 1, 1};
  const CocoRegion region = coco_region(classes, 2, 3, 1);
  EXPECT_EQ(region.counts, "131N");
  EXPECT_EQ(region.area, 4u);
  EXPECT_EQ(region.left, 0);
  EXPECT_EQ(region.top, 0);
  EXPECT_EQ(region.width, 3);
  EXPECT_EQ(region.height, 2);
}

TEST(CocoRle, NothingAndEverything) {
  const std::vector<uint8_t> classes(12, 3);
  EXPECT_EQ(coco_region(classes, 3, 4, 1).area, 0u);
  EXPECT_EQ(coco_region(classes, 3, 4, 1).width, 0);
  EXPECT_EQ(runs_of(coco_region(classes, 3, 4, 1).counts), std::vector<int64_t>{12});
  EXPECT_EQ(runs_of(coco_region(classes, 3, 4, 3).counts), (std::vector<int64_t>{0, 12}));
}

TEST(CocoRle, TheRunsGiveTheMaskBack) {
  constexpr int kHeight = 61, kWidth = 83;
  std::vector<uint8_t> classes(kHeight * kWidth);
  uint32_t state = 1;
  for (size_t p = 0; p < classes.size(); ++p) {
    state = state * 1664525 + 1013904223;
    classes[p] = static_cast<uint8_t>((p / 700 + (state >> 30)) % 3);
  }
  for (const uint8_t wanted : {0, 1, 2}) {
    const CocoRegion region = coco_region(classes, kHeight, kWidth, wanted);
    std::vector<uint8_t> decoded;
    uint8_t value = 0;
    for (const int64_t run : runs_of(region.counts)) {
      decoded.insert(decoded.end(), to_size(run), value);
      value ^= 1;
    }
    ASSERT_EQ(decoded.size(), classes.size());
    for (int x = 0, p = 0; x < kWidth; ++x) {
      for (int y = 0; y < kHeight; ++y, ++p) {
        ASSERT_EQ(decoded[p] == 1, classes[y * kWidth + x] == wanted);
      }
    }
  }
}

}  // namespace
