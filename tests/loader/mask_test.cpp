#include "loader/mask.h"

#include <gtest/gtest.h>

#include "loader/check.h"
#include "loader/dataset.h"
#include "loader/loader.h"
#include "tests/image/support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

using Bytes = std::vector<uint8_t>;

constexpr int kGray = 0, kRgb = 2, kPalette = 3, kRgba = 6;
const Bytes kColors{128, 64, 128, 70, 70, 70, 0, 0, 0};

MaskCoding street_colors() {
  return {MaskFormat::colors, {{{128, 64, 128}, 7}, {{70, 70, 70}, 11}, {{0, 0, 0}, 255}}};
}

TEST(Mask, IndicesAreIds) {
  const MaskCoding coding{MaskFormat::indices, {}};
  // Of any depth, and even where the palette is too short for them: void is often 255.
  EXPECT_EQ(decode_mask(make_png(3, 1, 8, kPalette, {{0, 2, 255}}, kColors), "", coding).pixels,
            (Bytes{0, 2, 255}));
  EXPECT_EQ(decode_mask(make_png(3, 1, 4, kPalette, {{0x20, 0x10}}, kColors), "", coding).pixels,
            (Bytes{2, 0, 1}));
  expect_input_error([&] { decode_mask(make_png(1, 1, 8, kGray, {{7}}), "grey.png", coding); },
                     {"grey.png", "mask_format = \"indices\"", "\"ids\""});
}

TEST(Mask, ColorsStandForIds) {
  const MaskCoding coding = street_colors();
  const Bytes expected{7, 255, 11, 7};
  EXPECT_EQ(
      decode_mask(make_png(4, 1, 8, kRgb, {{128, 64, 128, 0, 0, 0, 70, 70, 70, 128, 64, 128}}), "",
                  coding)
          .pixels,
      expected);
  EXPECT_EQ(decode_mask(make_png(4, 1, 8, kRgba,
                                 {{128, 64, 128, 9, 0, 0, 0, 9, 70, 70, 70, 9, 128, 64, 128, 9}}),
                        "", coding)
                .pixels,
            expected);
  EXPECT_EQ(decode_mask(make_png(4, 1, 8, kPalette, {{0, 2, 1, 0}}, kColors), "", coding).pixels,
            expected);

  expect_input_error(
      [&] {
        decode_mask(make_png(1, 2, 8, kRgb, {{70, 70, 70}, {1, 2, 3}}), "odd.png", coding);
      },
      {"odd.png", "[1, 2, 3]", "x=0, y=1", "ignore_colors"});
  expect_input_error([&] { decode_mask(make_png(1, 1, 8, kGray, {{7}}), "grey.png", coding); },
                     {"grey.png", "\"colors\"", "\"ids\""});
  expect_input_error([&] { decode_mask(make_jpeg(noise(8, 8, 3, 1), 90), "a.jpg", coding); },
                     {"a.jpg", "PNG"});
  expect_input_error(
      [&] {
        decode_mask(make_png(1, 1, 16, kRgb, {{0, 7, 0, 7, 0, 7}}), "deep.png", coding);
      },
      {"deep.png", "8-bit"});
}

/// A data set of one photo in 2 x 2 and the mask `mask`, described by `toml`.
class DescribedMasks : public ::testing::Test {
 protected:
  void put(std::string_view toml, const Bytes& mask) {
    put_text(folder_ / "dataset.toml", toml);
    put_png(folder_ / "images/train/x.png", noise(2, 2, 3, 1));
    put_bytes(folder_ / "masks/train/x.png", mask);
  }
  Bytes labels() {
    const LabelSet set = make_label_set("custom", VoidPolicy::standard, folder_.path());
    LoaderOptions options;
    options.height = options.width = 2;
    options.threads = 1;
    Loader loader(open_dataset(folder_.path(), "train"), set, options);
    loader.start(0);
    const auto* first = loader.next().labels.as<uint8_t>();
    return {first, first + 4};
  }
  int64_t check_errors() {
    const LabelSet set = make_label_set("custom", VoidPolicy::standard, folder_.path());
    return check_dataset(folder_.path(), set, 1).errors();
  }

  TemporaryFolder folder_;
};

TEST_F(DescribedMasks, IndicesReachTheNetwork) {
  put("mask_format = \"indices\"\n[[classes]]\nname = \"a\"\n[[classes]]\nname = \"b\"\n",
      make_png(2, 2, 8, kPalette, {{1, 0}, {255, 1}}, kColors));
  EXPECT_EQ(labels(), (Bytes{1, 0, kIgnore, 1}));
  EXPECT_EQ(check_errors(), 0);
}

TEST_F(DescribedMasks, ColorsReachTheNetwork) {
  put(R"(
mask_format = "colors"
ignore_colors = [[0, 0, 0], [255, 255, 255]]
[[classes]]
name = "road"
color = [128, 64, 128]
ids = [7, 8]
[[classes]]
name = "building"
color = [70, 70, 70]
)",
      make_png(2, 2, 8, kRgb, {{70, 70, 70, 128, 64, 128}, {0, 0, 0, 255, 255, 255}}));
  EXPECT_EQ(labels(), (Bytes{1, 0, kIgnore, kIgnore}));
  EXPECT_EQ(check_errors(), 0);
}

TEST_F(DescribedMasks, WithoutAFormatColorsAreRefused) {
  put("[[classes]]\nname = \"a\"\n", make_png(2, 2, 8, kPalette, {{0, 0}, {0, 0}}, kColors));
  expect_input_error([&] { labels(); }, {"x.png", "palette", "mask_format"});
  EXPECT_EQ(check_errors(), 1);
}

TEST_F(DescribedMasks, MistakesInTheFileAreNamed) {
  const auto refused = [&](std::string_view toml, const std::vector<std::string>& parts) {
    put_text(folder_ / "dataset.toml", toml);
    expect_input_error([&] { make_label_set("custom", VoidPolicy::standard, folder_.path()); },
                       parts);
  };
  refused("mask_format = \"rgb\"\n[[classes]]\nname = \"a\"\n",
          {"dataset.toml, line 1", "\"rgb\"", "\"colors\""});
  refused("mask_format = \"colors\"\n[[classes]]\nname = \"a\"\n",
          {"line 2", "class \"a\" has no color"});
  refused(
      "mask_format = \"colors\"\n[[classes]]\nname = \"a\"\ncolor = [1, 2, 3]\n"
      "[[classes]]\nname = \"b\"\ncolor = [1, 2, 3]\n",
      {"line 7", "[1, 2, 3] is given twice"});
  refused(
      "mask_format = \"colors\"\nignore = []\nignore_colors = [[0, 0, 0]]\n"
      "[[classes]]\nname = \"a\"\ncolor = [1, 2, 3]\n",
      {"line 3", "needs an ignored id"});
  refused(
      "mask_format = \"colors\"\nignore_colors = [[0, 0]]\n"
      "[[classes]]\nname = \"a\"\ncolor = [1, 2, 3]\n",
      {"line 2", "[red, green, blue]"});
  refused("ignore_colors = [[0, 0, 0]]\n[[classes]]\nname = \"a\"\n",
          {"line 1", "mask_format = \"colors\""});
}

}  // namespace
}  // namespace macadam
