// From drawn values to look-up tables and colour operations, against Albumentations 1.3.1.

#include "base/to_size.h"
#include "loader/augment/statistics.h"
#include "tests/loader/augment_support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

constexpr std::array<int, 11> kSome{0, 1, 7, 33, 64, 100, 128, 150, 200, 254, 255};

/// The table of a program of one operation, by channel.
AugmentBuilder::Table table_of(const Program& program) {
  EXPECT_EQ(program.ops(), 1);
  EXPECT_EQ(program.header.op[0].kind, PixelOp::Kind::table);
  AugmentBuilder::Table table;
  const auto bytes = program.data<uint8_t>(program.header.op[0].data, 768);
  for (size_t i = 0; i < 768; ++i) table[i / 256][i % 256] = bytes[i];
  return table;
}

/// Expects what a golden file holds for its case `index`: 256 x 3 bytes.
void expect_table(const AugmentBuilder::Table& table, const macadam::testing::NpyArray& expected,
                  size_t index) {
  for (size_t v = 0; v < 256; ++v) {
    for (size_t c = 0; c < 3; ++c) {
      EXPECT_EQ(table[c][v], expected.values[(index * 256 + v) * 3 + c])
          << "case " << index << ", value " << v << ", channel " << c;
    }
  }
}

std::vector<int> some(const AugmentBuilder::Table& table) {
  EXPECT_EQ(table[0], table[1]);
  EXPECT_EQ(table[0], table[2]);
  std::vector<int> values;
  for (const int v : kSome) values.push_back(table[0][to_size(v)]);
  return values;
}

ImageStatistics statistics_of_photo() {
  std::vector<uint8_t> bytes;
  for (const double v : macadam::testing::augment_golden("photo").next().values)
    bytes.push_back(static_cast<uint8_t>(v));
  return statistics_of(bytes);
}

template <class T>
Program program_with(const T& transform, const typename T::Drawn& drawn,
                     const ImageStatistics& statistics) {
  AugmentBuilder builder(kSize.height, kSize.width);
  transform.write(drawn, statistics, builder);
  return Program(builder);
}

TEST(AugmentTone, BrightnessAndContrast) {
  auto file = macadam::testing::augment_golden("brightness_contrast");
  const auto cases = file.next(), expected = file.next();
  for (size_t i = 0; i < cases.values.size() / 2; ++i) {
    const double alpha = cases.values[2 * i], beta = cases.values[2 * i + 1];
    expect_table(
        table_of(program_with(RandomBrightnessContrast{}, {.alpha = alpha, .beta = beta}, {})),
        expected, i);
    if (alpha == 1) expect_table(table_of(program_of(RandomBrightness{}, {beta})), expected, i);
    if (beta == 0) expect_table(table_of(program_of(RandomContrast{}, {alpha})), expected, i);
  }
}

TEST(AugmentTone, BrightnessByTheMean) {
  const Program program = program_with(RandomBrightnessContrast{.brightness_by_max = false},
                                       {.alpha = 1.1, .beta = -0.15}, statistics_of_photo());
  EXPECT_EQ(some(table_of(program)), (std::vector{0, 0, 0, 13, 47, 87, 118, 142, 197, 255, 255}));
}

TEST(AugmentTone, MeansFollowTheTablesBefore) {
  AugmentBuilder builder(kSize.height, kSize.width);
  RandomContrast{}.write({0.5}, builder);
  ImageStatistics statistics;
  for (auto& channel : statistics.histogram) channel[101] = channel[201] = 7;  // 50 and 100 now
  RandomBrightnessContrast{.brightness_by_max = false}.write({.alpha = 1, .beta = 0.2}, statistics,
                                                             builder);
  const auto table = table_of(Program(builder));
  EXPECT_EQ(table[0][100], 50 + 15);
}

TEST(AugmentTone, RgbShift) {
  auto file = macadam::testing::augment_golden("rgb_shift");
  const auto cases = file.next(), expected = file.next();
  for (size_t i = 0; i < cases.values.size() / 3; ++i) {
    expect_table(table_of(program_of(RgbShift{}, {{cases.values[3 * i], cases.values[3 * i + 1],
                                                   cases.values[3 * i + 2]}})),
                 expected, i);
  }
}

TEST(AugmentTone, Gamma) {
  auto file = macadam::testing::augment_golden("gamma");
  const auto cases = file.next(), expected = file.next();
  for (size_t i = 0; i < cases.values.size(); ++i) {
    expect_table(table_of(program_of(RandomGamma{}, {cases.values[i]})), expected, i);
  }
}

TEST(AugmentTone, AGammaOfOneLowers24Values) {
  const auto table = table_of(program_of(RandomGamma{}, {1.0}));
  std::vector<int> lowered;
  for (int v = 0; v < 256; ++v) {
    const int result = table[0][to_size(v)];
    EXPECT_GE(result, v - 1);
    if (result != v) lowered.push_back(v);
  }
  EXPECT_EQ(lowered, (std::vector{33, 37,  41,  45,  49,  53,  57,  61,  66,  74,  82,  90,
                                  98, 106, 114, 122, 132, 148, 164, 180, 196, 212, 228, 244}));
}

TEST(AugmentTone, JitterTables) {
  const ImageStatistics statistics = statistics_of_photo();
  const auto brightness = [&](double factor) {
    return some(table_of(program_with(ColorJitter{}, {.brightness = factor}, statistics)));
  };
  EXPECT_EQ(brightness(0.8), (std::vector{0, 0, 5, 26, 51, 80, 102, 120, 160, 203, 204}));
  EXPECT_EQ(brightness(1.2), (std::vector{0, 1, 8, 39, 76, 120, 153, 180, 240, 255, 255}));
  EXPECT_EQ(brightness(0), std::vector<int>(kSome.size(), 0));
  const auto contrast = [&](double factor) {
    return some(table_of(program_with(ColorJitter{}, {.contrast = factor}, statistics)));
  };
  EXPECT_EQ(contrast(0.8), (std::vector{26, 27, 32, 53, 77, 106, 129, 146, 186, 229, 230}));
  EXPECT_EQ(contrast(1.25), (std::vector{0, 0, 0, 7, 46, 91, 126, 154, 216, 255, 255}));
  EXPECT_EQ(contrast(0), std::vector<int>(kSome.size(), 134));
}

TEST(AugmentTone, JitterKeepsItsOrderAndLeavesOutWhatChangesNothing) {
  const ImageStatistics statistics = statistics_of_photo();
  const Program all = program_with(
      ColorJitter{},
      {.brightness = 1.1, .contrast = 0.9, .saturation = 1.2, .hue = -0.13, .order = {3, 0, 2, 1}},
      statistics);
  ASSERT_EQ(all.ops(), 4);
  EXPECT_EQ(all.header.op[0].kind, PixelOp::Kind::hsv);
  EXPECT_EQ(all.header.op[0].value[0], -24.0f);
  EXPECT_EQ(all.header.op[1].kind, PixelOp::Kind::table);
  EXPECT_EQ(all.header.op[2].kind, PixelOp::Kind::saturation);
  EXPECT_EQ(all.header.op[2].value[0], 1.2f);
  EXPECT_EQ(all.header.op[3].kind, PixelOp::Kind::table);
  EXPECT_EQ(program_with(ColorJitter{}, {}, statistics).ops(), 0);
  // Brightness and contrast in a row are one table.
  EXPECT_EQ(program_with(ColorJitter{}, {.brightness = 1.1, .contrast = 0.9}, statistics).ops(), 1);
}

TEST(AugmentTone, HueTakesTheFloor) {
  const auto hue = [](double factor) {
    return program_with(ColorJitter{}, {.hue = factor}, {}).header.op[0].value[0];
  };
  EXPECT_EQ(hue(0.2), 36.0f);
  EXPECT_EQ(hue(0.0011), 0.0f);
  EXPECT_EQ(hue(-0.0011), -1.0f);
  const Program program =
      program_of(HueSaturationValue{}, {.hue = -0.2, .saturation = 7.3, .value = -7.3});
  ASSERT_EQ(program.ops(), 1);
  EXPECT_EQ(program.header.op[0].value, (std::array<float, 4>{-1, 7, -8, 0}));
  EXPECT_EQ(program_of(HueSaturationValue{}, {}).ops(), 0);
}

TEST(AugmentTone, OtherOperations) {
  const Program noise =
      program_of(GaussNoise{.mean = 2, .per_channel = false}, {.sigma = 5, .key = {3, 4}});
  EXPECT_EQ(noise.header.op[0].kind, PixelOp::Kind::noise);
  EXPECT_EQ(noise.header.op[0].value[0], 2.0f);
  EXPECT_EQ(noise.header.op[0].value[1], 5.0f);
  EXPECT_EQ(noise.header.op[0].flag, 0);
  EXPECT_EQ(noise.header.op[0].key, (std::array<uint32_t, 2>{3, 4}));
  EXPECT_EQ(program_of(Blur{}, {5}).header.stage[0].blur, 5);
  EXPECT_EQ(program_of(Blur{}, {1}).header.stage[0].blur, 0);

  const Program clahe = program_of(Clahe{.tile_grid_size = {4, 3}}, {2.5});
  EXPECT_EQ(clahe.header.op[0].kind, PixelOp::Kind::equalize);
  EXPECT_EQ(clahe.header.op[0].value, (std::array<float, 4>{2.5f, 3, 4, 0}));  // down, across

  const Program holes =
      program_of(CoarseDropout{.fill_value = {1, 2, 3}, .mask_fill_value = 255},
                 {{{.y = 4, .x = 5, .height = 6, .width = 7}, {.height = 1, .width = 1}}});
  ASSERT_EQ(holes.ops(), 2);
  EXPECT_EQ(holes.header.op[0].value, (std::array<float, 4>{4, 5, 10, 12}));
  EXPECT_EQ(holes.header.op[0].fill, (std::array<uint8_t, 4>{1, 2, 3, 255}));
  EXPECT_EQ(holes.header.op[0].flag, 1);
  EXPECT_EQ(program_of(CoarseDropout{}, {{{.height = 1, .width = 1}}}).header.op[0].flag, 0);

  const Program shadow = program_of(RandomShadow{}, {{{{1, 2}, {3, 4}, {5, 6}}}});
  EXPECT_EQ(shadow.header.op[0].count, 1);
  EXPECT_EQ(shadow.data<int32_t>(shadow.header.op[0].data, 7),
            (std::vector<int32_t>{3, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(program_of(RandomShadow{}, {}).ops(), 0);
}

}  // namespace
}  // namespace macadam
