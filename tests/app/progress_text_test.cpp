// The line of progress at every width.

#include "app/progress_text.h"

#include <gtest/gtest.h>

#include <array>

namespace macadam {
namespace {

const std::array<std::string, 4> kDetails{"epoch 3/12", "loss 0.4321", "8.51 images/s",
                                          "470.3 ms a batch"};

std::string text(size_t columns) { return progress_text("training", 6, 24, kDetails, columns); }

TEST(ProgressText, ShortensTheBarThenDetails) {
  EXPECT_EQ(text(300),
            "training [######..................] 6/24 epoch 3/12, loss 0.4321, 8.51 images/s, "
            "470.3 ms a batch");
  EXPECT_EQ(text(81),
            "training [##......] 6/24 epoch 3/12, loss 0.4321, 8.51 images/s, 470.3 ms a batch");
  EXPECT_EQ(text(80),
            "training [######..................] 6/24 epoch 3/12, loss 0.4321, 8.51 images/s");
  EXPECT_EQ(text(50), "training [##........] 6/24 epoch 3/12, loss 0.4321");
  EXPECT_EQ(text(40), "training [###..........] 6/24 epoch 3/12");
  EXPECT_EQ(text(24), "training [##......] 6/24");
  EXPECT_EQ(text(23), "training 6/24");
  EXPECT_EQ(text(10), "train 6/24");
  EXPECT_EQ(text(7), "tr 6/24");
  EXPECT_EQ(text(3), "6/2");
  EXPECT_EQ(text(0), "");
}

TEST(ProgressText, NeverWiderThanItMayBe) {
  const std::array<std::string, 2> wide{"epoch 1/2", "Straße 東京の街路 🚗🚗.png"};
  const std::array<std::string, 1> bytes{"\xff\xfe broken"};
  for (size_t columns = 0; columns <= 300; ++columns) {
    for (const int64_t total : {0, 7, 1'000'000}) {
      for (const std::span<const std::string> details :
           {std::span<const std::string>(), std::span<const std::string>(kDetails),
            std::span<const std::string>(wide), std::span<const std::string>(bytes)}) {
        const std::string line =
            progress_text("scoring the test split", total / 2, total, details, columns);
        EXPECT_LE(text_columns(line), columns) << line;
      }
    }
    EXPECT_LE(text_columns(progress_text("東京の街路", 1, 2, wide, columns)), columns);
  }
}

TEST(ProgressText, MoreRoomNeverShowsFewerDetails) {
  size_t shown = 0;
  for (size_t columns = 20; columns <= 300; ++columns) {
    size_t now = 0;
    for (const std::string& detail : kDetails)
      now += text(columns).find(detail) != std::string::npos;
    EXPECT_GE(now, shown) << columns;
    shown = now;
  }
  EXPECT_EQ(shown, kDetails.size());
}

TEST(ProgressText, CharactersOfTwoColumns) {
  EXPECT_EQ(text_columns("Straße"), 6u);
  EXPECT_EQ(text_columns("東京"), 4u);
  EXPECT_EQ(text_columns("🚗"), 2u);
  EXPECT_EQ(text_columns("\xff"), 1u);
}

}  // namespace
}  // namespace macadam
