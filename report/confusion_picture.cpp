#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/to_size.h"
#include "report/font.h"
#include "report/picture.h"
#include "report/shade.h"

namespace macadam {

namespace {

constexpr Rgb kPaper = {255, 255, 255}, kInk = {34, 34, 34}, kLight = {255, 255, 255};
constexpr int kScale = 2, kCellWidth = 4 * kGlyphAdvance * kScale, kCellHeight = 28, kGap = 8;

void fill(Image& image, int x0, int y0, int width, int height, const Rgb& color) {
  for (int y = y0; y < y0 + height; ++y) {
    for (int x = x0; x < x0 + width; ++x) std::ranges::copy(color, image.at(y, x));
  }
}

}  // namespace

Image confusion_picture(std::span<const ClassScore> classes, std::span<const uint64_t> confusion) {
  const size_t count = classes.size();
  require(count > 0 && confusion.size() == count * count, "classes^2 values");
  std::vector<std::string> names;
  int widest = 0;
  for (size_t c = 0; c < count; ++c) {
    names.push_back(fmt::format("{} {}", c, classes[c].name));
    widest = std::max(widest, text_width(names.back(), kScale));
  }
  const auto cells = static_cast<int>(count);
  const int left = widest + 2 * kGap, top = kGlyphHeight * kScale + 2 * kGap;
  Image picture(top + cells * kCellHeight + kGap, left + cells * kCellWidth + kGap, 3);
  fill(picture, 0, 0, picture.width, picture.height, kPaper);
  const int lower = (kCellHeight - kGlyphHeight * kScale) / 2;
  const auto centered = [&](int x, int y, const std::string& text, const Rgb& color) {
    draw_text(picture, x + (kCellWidth - text_width(text, kScale)) / 2, y, text, color, kScale);
  };
  for (int r = 0; r < cells; ++r) {
    const std::span<const uint64_t> row = confusion.subspan(to_size(r) * count, count);
    uint64_t total = 0;
    for (const uint64_t pixels : row) total += pixels;
    const int y = top + r * kCellHeight;
    draw_text(picture, kGap, y + lower, names[to_size(r)], kInk, kScale);
    centered(left + r * kCellWidth, kGap, fmt::to_string(r), kInk);
    for (int c = 0; c < cells && total > 0; ++c) {
      const double share = static_cast<double>(row[to_size(c)]) / static_cast<double>(total);
      const int x = left + c * kCellWidth;
      fill(picture, x, y, kCellWidth, kCellHeight, blue_shade(share));
      if (share >= 0.005) {
        centered(x, y + lower, fmt::format("{:.0f}", 100 * share), share > 0.55 ? kLight : kInk);
      }
    }
  }
  return picture;
}

}  // namespace macadam
