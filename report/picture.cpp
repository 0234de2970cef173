#include "report/picture.h"

#include <algorithm>
#include <bitset>
#include <cmath>

#include "kernels/error.h"
#include "report/font.h"

namespace macadam {

namespace {

using Colour = std::array<uint8_t, 3>;

constexpr Colour kPaper = {255, 255, 255}, kInk = {34, 34, 34}, kFrame = {154, 159, 164};

void fill(Image& image, int x0, int y0, int width, int height, const Colour& colour) {
  for (int y = std::max(y0, 0); y < std::min(y0 + height, image.height); ++y) {
    for (int x = std::max(x0, 0); x < std::min(x0 + width, image.width); ++x) {
      std::copy(colour.begin(), colour.end(), image.at(y, x));
    }
  }
}

void paste(const Image& source, Image& target, int x, int y) {
  for (int row = 0; row < source.height; ++row) {
    std::copy_n(source.at(row, 0), source.width * 3, target.at(y + row, x));
  }
}

struct LegendEntry {
  const ClassScore* score;
  int x, line;
};

/// Breaks the legend into lines of at most `width` pixels.
std::vector<LegendEntry> lay_out_legend(std::span<const ClassScore> classes,
                                        const std::bitset<256>& present, int width, int scale) {
  std::vector<LegendEntry> entries;
  int x = 0, line = 0;
  for (size_t c = 0; c < std::min<size_t>(classes.size(), 256); ++c) {
    if (!present[c]) continue;
    const int needed = 12 * scale + text_width(classes[c].name, scale) + 12 * scale;
    if (x > 0 && x + needed > width) {
      x = 0;
      ++line;
    }
    entries.push_back({&classes[c], x, line});
    x += needed;
  }
  return entries;
}

}  // namespace

std::vector<Colour> palette_of(std::span<const ClassScore> classes) {
  std::vector<Colour> palette;
  for (const ClassScore& c : classes) palette.push_back(c.colour);
  return palette;
}

Image colourise(const Image& mask, std::span<const Colour> palette) {
  require(mask.channels == 1, "a mask of 1 channel");
  Image result(mask.height, mask.width, 3);
  for (size_t i = 0; i < mask.pixels.size(); ++i) {
    const uint8_t index = mask.pixels[i];
    const Colour& colour = index < palette.size() ? palette[index] : kIgnoredColour;
    std::copy(colour.begin(), colour.end(), result.pixels.begin() + static_cast<ptrdiff_t>(3 * i));
  }
  return result;
}

Image overlay(const Image& photo, const Image& mask, std::span<const Colour> palette,
              double opacity) {
  require(photo.channels == 3 && mask.channels == 1, "an RGB photo and a mask of 1 channel");
  require(photo.height == mask.height && photo.width == mask.width, "photo and mask of one size");
  require(opacity >= 0 && opacity <= 1, "0 <= opacity <= 1");
  const int over = static_cast<int>(std::lround(opacity * 256)), under = 256 - over;
  Image result = photo;
  for (size_t i = 0; i < mask.pixels.size(); ++i) {
    const uint8_t index = mask.pixels[i];
    if (index >= palette.size()) continue;
    for (size_t c = 0; c < 3; ++c) {
      uint8_t& value = result.pixels[3 * i + c];
      value = static_cast<uint8_t>((value * under + palette[index][c] * over + 128) >> 8);
    }
  }
  return result;
}

Image reduce(const Image& image, int max_width) {
  require(max_width >= 1, "max_width >= 1");
  const int by = std::min((image.width + max_width - 1) / max_width, std::max(image.height, 1));
  if (by <= 1) return image;
  Image result(image.height / by, image.width / by, image.channels);
  const bool mask = image.channels == 1;
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x) {
      for (int c = 0; c < image.channels; ++c) {
        if (mask) {
          *result.at(y, x) = *image.at(y * by + by / 2, x * by + by / 2);
          continue;
        }
        int sum = by * by / 2;
        for (int dy = 0; dy < by; ++dy) {
          for (int dx = 0; dx < by; ++dx) sum += image.at(y * by + dy, x * by + dx)[c];
        }
        result.at(y, x)[c] = static_cast<uint8_t>(sum / (by * by));
      }
    }
  }
  return result;
}

Image sample_sheet(const ReportSample& sample, std::span<const ClassScore> classes) {
  const std::vector<Colour> palette = palette_of(classes);
  const int height = sample.photo.height, width = sample.photo.width;
  require(sample.truth.height == height && sample.truth.width == width, "truth like the photo");
  require(sample.prediction.height == height && sample.prediction.width == width,
          "prediction like the photo");
  const int scale = std::max(1, width / 256);
  const int gap = 6 * scale, title = (kGlyphHeight + 6) * scale, line = (kGlyphHeight + 6) * scale;
  const int total_width = 4 * width + 5 * gap;

  std::bitset<256> present;
  for (uint8_t index : sample.truth.pixels) present.set(index);
  for (uint8_t index : sample.prediction.pixels) present.set(index);
  const std::vector<LegendEntry> legend =
      lay_out_legend(classes, present, total_width - 2 * gap, scale);
  const int lines = legend.empty() ? 0 : legend.back().line + 1;

  Image sheet(gap + title + height + gap + lines * line + (lines > 0 ? gap / 2 : 0), total_width,
              3);
  fill(sheet, 0, 0, sheet.width, sheet.height, kPaper);
  const struct {
    const char* title;
    Image picture;
  } parts[] = {{"photo", sample.photo},
               {"truth", colourise(sample.truth, palette)},
               {"prediction", colourise(sample.prediction, palette)},
               {"overlay", overlay(sample.photo, sample.prediction, palette)}};
  int x = gap;
  for (const auto& part : parts) {
    draw_text(sheet, x, gap, part.title, kInk, scale);
    paste(part.picture, sheet, x, gap + title);
    x += width + gap;
  }
  for (const LegendEntry& entry : legend) {
    const int left = gap + entry.x, top = gap + title + height + gap + entry.line * line;
    fill(sheet, left, top, 8 * scale, 8 * scale, kFrame);
    fill(sheet, left + 1, top + 1, 8 * scale - 2, 8 * scale - 2, entry.score->colour);
    draw_text(sheet, left + 12 * scale, top, entry.score->name, kInk, scale);
  }
  return sheet;
}

}  // namespace macadam
