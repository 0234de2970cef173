#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/rgb.h"
#include "base/to_size.h"
#include "report/markup.h"
#include "report/report.h"
#include "report/shade.h"
#include "report/svg.h"

namespace macadam {

namespace {

std::string hex(const Rgb& c) { return fmt::format("#{:02x}{:02x}{:02x}", c[0], c[1], c[2]); }

/// What a cell says: one decimal while there is room and need, nothing below 0.05%.
std::string cell_text(double share, double cell) {
  const double value = 100 * share;
  if (value < 0.05) return "";
  if (cell < 40) return value < 0.5 ? "" : fmt::format("{:.0f}", value);
  return value >= 99.95 ? "100" : fmt::format("{:.1f}", value);
}

}  // namespace

std::string confusion_svg(std::span<const ClassScore> classes,
                          std::span<const uint64_t> confusion) {
  const size_t count = classes.size();
  require(confusion.size() == count * count, "classes^2 values");
  if (count == 0) {
    Svg svg(800, 120, "Confusion matrix");
    svg.text(400, 64, "There are no classes.", {.size = 14, .anchor = "middle", .fill = "#555"});
    return std::move(svg).finish();
  }
  size_t longest = 0;
  for (const ClassScore& c : classes) longest = std::max(longest, c.name.size());
  const double name_font = count > 12 ? 10 : 13;
  const double name_width =
      std::clamp(0.58 * name_font * static_cast<double>(longest), 40.0, 160.0);
  const double left = name_width + 64, right = 84;
  const double cell = std::clamp((800 - left - right) / static_cast<double>(count), 12.0, 66.0);
  const double row = std::clamp(cell * 0.68, 12.0, 44.0);
  const double size = cell * static_cast<double>(count);
  const double font = std::clamp(cell * 0.3, 8.0, 13.0);
  // Names of columns lie flat where they fit, else they climb.
  const bool climb = 0.56 * name_font * static_cast<double>(longest) > cell;
  const double top = climb ? 70 + name_width * 0.72 : 76;
  const double width = std::max(left + size + right, 420.0);
  const double bottom = top + row * static_cast<double>(count);
  Svg svg(width, bottom + 58, "Confusion matrix");
  svg.text(24, 28, "Confusion matrix", {.size = 14, .bold = true});
  svg.text(24, 46, "Where the pixels of each true class went, in percent of the row.",
           {.size = 12, .fill = "#555"});

  std::vector<uint64_t> totals(count);
  uint64_t total = 0;
  for (size_t i = 0; i < count * count; ++i) {
    totals[i / count] += confusion[i];
    total += confusion[i];
  }
  const auto chip = [&](double x, double y, size_t c) {
    svg.rect(x, y, 10, 10, "#9a9fa4");
    svg.rect(x + 0.5, y + 0.5, 9, 9, hex(classes[c].color));
  };
  for (size_t c = 0; c < count; ++c) {
    const double x = left + cell * (static_cast<double>(c) + 0.5);
    if (climb) {
      svg.text(x + 4, top - 8, classes[c].name, {.size = name_font, .turn = -45});
    } else {
      svg.text(x, top - 8, classes[c].name, {.size = name_font, .anchor = "middle"});
    }
  }
  svg.text(left + size + 12, top - 8, "of all", {.size = 11, .fill = "#555"});

  for (size_t r = 0; r < count; ++r) {
    const double y = top + row * static_cast<double>(r), middle = y + row * 0.5;
    svg.text(left - 24, middle + name_font * 0.35, classes[r].name,
             {.size = name_font, .anchor = "end"});
    chip(left - 18, middle - 5, r);
    if (totals[r] == 0) {
      svg.rect(left, y, size, row, "#f3f4f5");
      svg.text(left + size / 2, middle + 4, "absent",
               {.size = std::min(font, 12.0), .anchor = "middle", .fill = "#777"});
    } else {
      for (size_t c = 0; c < count; ++c) {
        const double share =
            static_cast<double>(confusion[r * count + c]) / static_cast<double>(totals[r]);
        const double x = left + cell * static_cast<double>(c);
        svg.begin_group(
            fmt::format("{} taken for {}: {:.2f}%", classes[r].name, classes[c].name, 100 * share));
        svg.rect(x, y, cell, row, hex(blue_shade(share)));
        const std::string label = cell_text(share, cell);
        if (!label.empty()) {
          svg.text(x + cell / 2, middle + font * 0.36, label,
                   {.size = font,
                    .anchor = "middle",
                    .fill = share > 0.55 ? "#ffffff" : "#222222",
                    .bold = r == c});
        }
        svg.end_group();
      }
    }
    const double part =
        total == 0 ? 0 : static_cast<double>(totals[r]) / static_cast<double>(total);
    svg.text(left + size + 12, middle + 4, percent(part), {.size = 11, .fill = "#555"});
  }
  for (size_t i = 0; i <= count; ++i) {
    const double x = left + cell * static_cast<double>(i), y = top + row * static_cast<double>(i);
    svg.line(x, top, x, bottom, "#d8dbde");
    svg.line(left, y, left + size, y, "#d8dbde");
  }
  svg.text(left + size / 2, bottom + 20, "predicted",
           {.size = 12, .anchor = "middle", .fill = "#555"});
  svg.text(20, (top + bottom) / 2, "true",
           {.size = 12, .anchor = "middle", .fill = "#555", .turn = -90});

  constexpr int kSteps = 25;
  const double key = std::min(180.0, size), key_y = bottom + 32;
  for (int i = 0; i < kSteps; ++i) {
    svg.rect(left + key * i / kSteps, key_y, key / kSteps + 0.5, 8,
             hex(blue_shade((i + 0.5) / kSteps)));
  }
  svg.text(left - 6, key_y + 8, "0%", {.size = 11, .anchor = "end", .fill = "#555"});
  svg.text(left + key + 6, key_y + 8, "100%", {.size = 11, .fill = "#555"});
  return std::move(svg).finish();
}

}  // namespace macadam
