#include "report/sheet.h"

#include <algorithm>
#include <bitset>

#include "base/error.h"
#include "base/rgb.h"
#include "report/font.h"
#include "report/picture.h"

namespace macadam {

namespace {

constexpr Rgb kPaper = {255, 255, 255}, kInk = {34, 34, 34}, kFrame = {154, 159, 164};

void fill(Image& image, int x0, int y0, int width, int height, const Rgb& color) {
  for (int y = std::max(y0, 0); y < std::min(y0 + height, image.height); ++y) {
    for (int x = std::max(x0, 0); x < std::min(x0 + width, image.width); ++x) {
      std::copy(color.begin(), color.end(), image.at(y, x));
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

Image picture_sheet(std::span<const std::vector<TitledPicture>> rows, std::span<const Image> masks,
                    std::span<const ClassScore> classes) {
  require(!rows.empty() && !rows[0].empty(), "at least one picture");
  const int height = rows[0][0].picture.height, width = rows[0][0].picture.width;
  const int scale = std::max(1, width / 256);
  const int gap = 6 * scale, line = (kGlyphHeight + 6) * scale, step = line + height + gap;
  const auto columns = static_cast<int>(rows[0].size());
  const int total_width = gap + columns * (width + gap);

  std::bitset<256> present;
  for (const Image& mask : masks) {
    for (const uint8_t index : mask.pixels) present.set(index);
  }
  const std::vector<LegendEntry> legend =
      lay_out_legend(classes, present, total_width - 2 * gap, scale);
  const int lines = legend.empty() ? 0 : legend.back().line + 1;
  const int legend_top = gap + static_cast<int>(rows.size()) * step;

  Image sheet(legend_top + lines * line + (lines > 0 ? gap / 2 : 0), total_width, 3);
  fill(sheet, 0, 0, sheet.width, sheet.height, kPaper);
  int top = gap;
  for (const std::vector<TitledPicture>& row : rows) {
    require(row.size() == rows[0].size(), "rows of equal length");
    int x = gap;
    for (const TitledPicture& part : row) {
      require(part.picture.height == height && part.picture.width == width &&
                  part.picture.channels == 3,
              "RGB pictures of one size");
      draw_text(sheet, x, top, part.title, kInk, scale);
      paste(part.picture, sheet, x, top + line);
      x += width + gap;
    }
    top += step;
  }
  for (const LegendEntry& entry : legend) {
    const int left = gap + entry.x, y = legend_top + entry.line * line;
    fill(sheet, left, y, 8 * scale, 8 * scale, kFrame);
    fill(sheet, left + 1, y + 1, 8 * scale - 2, 8 * scale - 2, entry.score->color);
    draw_text(sheet, left + 12 * scale, y, entry.score->name, kInk, scale);
  }
  return sheet;
}

Image sample_sheet(const ReportSample& sample, std::span<const ClassScore> classes) {
  const std::vector<Rgb> palette = palette_of(classes);
  const std::vector<TitledPicture> row{
      {"photo", sample.photo},
      {"truth", colorize(sample.truth, palette)},
      {"prediction", colorize(sample.prediction, palette)},
      {"errors", error_picture(sample.photo, sample.truth, sample.prediction, classes.size())}};
  const std::array<Image, 2> masks{sample.truth, sample.prediction};
  return picture_sheet({&row, 1}, masks, classes);
}

}  // namespace macadam
