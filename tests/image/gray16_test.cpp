#include "image/gray16.h"

#include <gtest/gtest.h>

#include "base/to_size.h"
#include "tests/image/support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

constexpr int kGray = 0;

/// Rows of 16-bit grey, the higher byte first, by every filter of PNG.
std::vector<uint8_t> make_gray16(const Image& bytewise, const std::vector<int>& filters) {
  PngParts parts{.width = static_cast<uint32_t>(bytewise.width / 2),
                 .height = static_cast<uint32_t>(bytewise.height),
                 .bits = 16,
                 .color = kGray};
  parts.raw = filter_as_specified(bytewise.pixels, to_size(bytewise.height),
                                  to_size(bytewise.width), 2, filters);
  return make_png(parts);
}

TEST(Gray16, ValuesAreAsStoredWhateverTheFilter) {
  const Image bytewise = wandering(13, 2 * 9, 1, 3);
  for (const int filter : {kNone, kSub, kUp, kAverage, kPaeth}) {
    const Gray16 image = decode_gray16(make_gray16(bytewise, {filter, kUp, filter}), "a.png");
    ASSERT_EQ(image.height, 13);
    ASSERT_EQ(image.width, 9);
    ASSERT_EQ(image.pixels.size(), 13u * 9);
    for (size_t p = 0; p < image.pixels.size(); ++p) {
      ASSERT_EQ(image.pixels[p], 256 * bytewise.pixels[2 * p] + bytewise.pixels[2 * p + 1])
          << "filter " << filter << ", pixel " << p;
    }
  }
}

TEST(Gray16, FewerBitsAreNumbersToo) {
  EXPECT_EQ(decode_gray16(make_png(3, 1, 8, kGray, {{0, 7, 255}}), "a.png").pixels,
            (std::vector<uint16_t>{0, 7, 255}));
  EXPECT_EQ(decode_gray16(make_png(4, 1, 2, kGray, {{0b00011011}}), "a.png").pixels,
            (std::vector<uint16_t>{0, 1, 2, 3}));
}

TEST(Gray16, OtherFilesAreNamed) {
  const auto refuses = [](const std::vector<uint8_t>& bytes, const std::string& word) {
    expect_input_error([&] { decode_gray16(bytes, "a.png"); }, {"a.png", word});
  };
  refuses(make_png(1, 1, 16, 2, {{0, 1, 0, 2, 0, 3}}), "greyscale");
  refuses(make_png(1, 1, 8, 3, {{0}}, {1, 2, 3}), "greyscale");
  refuses(make_jpeg(noise(8, 8, 3, 1), 90), "greyscale");
  PngParts interlaced{.width = 1, .height = 1, .bits = 16, .color = kGray, .interlace = 1};
  interlaced.raw = {0, 1, 2};
  refuses(make_png(interlaced), "interlac");
  std::vector<uint8_t> cut = make_gray16(noise(5, 6, 1, 1), {kNone});
  cut.resize(cut.size() - 20);
  refuses(cut, "PNG");
  refuses(make_png(9, 9, 16, kGray, {{0, 1}}), "damaged");
  expect_input_error([] { decode_gray16(make_gray16(noise(5, 6, 1, 1), {kNone}), "a.png", {10}); },
                     {"a.png", "5 pixels"});
}

}  // namespace
}  // namespace macadam
