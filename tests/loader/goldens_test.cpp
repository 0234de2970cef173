// Small files of every format as Pillow writes them, against their pixels as Pillow reads them
// (tests/golden/make_image_files.py). Both decode JPEG by libjpeg-turbo, so they agree exactly.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "image/image.h"
#include "tests/image/support.h"
#include "tests/paths.h"

namespace macadam {
namespace {

using namespace macadam::testing;
namespace fs = std::filesystem;

const fs::path kFolder = source_path("tests/golden/images");

/// Every NAME.EXT that has a NAME.EXT.png beside it.
std::vector<std::string> names() {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(kFolder)) {
    const std::string name = entry.path().filename().string();
    if (fs::exists(kFolder / (name + ".png"))) found.push_back(name);
  }
  std::sort(found.begin(), found.end());
  return found;
}

class ImageGoldens : public ::testing::TestWithParam<std::string> {};

TEST_P(ImageGoldens, PixelsAreThoseThatPillowReads) {
  const Image expected = decode_by_stb(get_bytes(kFolder / (GetParam() + ".png")));
  EXPECT_EQ(read_rgb(kFolder / GetParam()), expected);
  const ImageInfo info = probe_image(kFolder / GetParam());
  EXPECT_EQ(info.height, expected.height);
  EXPECT_EQ(info.width, expected.width);
}

std::string test_name(const ::testing::TestParamInfo<std::string>& file) {
  std::string name = file.param;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Files, ImageGoldens, ::testing::ValuesIn(names()), test_name);

TEST(ImageGoldensAll, EveryKindIsThere) {
  const auto found = names();
  EXPECT_EQ(found.size(), 29u);
  for (const char* name : {"420.jpg", "cmyk.jpg", "orientation8.jpg", "gray_16.png", "rgb.bmp"}) {
    EXPECT_TRUE(std::binary_search(found.begin(), found.end(), name)) << name;
  }
}

TEST(ImageGoldensAll, ReducedJpegsAreThoseOfPillowsDraftMode) {
  const Image whole = read_rgb(kFolder / "420.jpg");
  for (const int reduction : {2, 4, 8}) {
    const Image expected = decode_by_stb(
        get_bytes(kFolder / ("420.jpg.reduced" + std::to_string(reduction) + ".png")));
    const DecodeOptions options{(whole.height + reduction - 1) / reduction,
                                (whole.width + reduction - 1) / reduction};
    EXPECT_EQ(read_rgb(kFolder / "420.jpg", {}, options), expected) << reduction;
  }
}

TEST(ImageGoldensAll, OrientationsShowOnePhoto) {
  // The same picture was stored in every file, so what is seen differs; turned back it is the same.
  const Image upright = read_rgb(kFolder / "orientation1.jpg");
  const Image turned = read_rgb(kFolder / "orientation6.jpg");
  ASSERT_EQ(turned.height, upright.width);
  for (int y = 0; y < upright.height; ++y) {
    for (int x = 0; x < upright.width; ++x) {
      EXPECT_EQ(upright.at(y, x)[0], turned.at(x, upright.height - 1 - y)[0]);
    }
  }
}

}  // namespace
}  // namespace macadam
