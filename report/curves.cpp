#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <set>
#include <string>

#include "report/markup.h"
#include "report/report.h"
#include "report/svg.h"

namespace macadam {

namespace {

// The colours of Okabe and Ito (2008), which people with any colour vision can tell apart; line
// styles differ too, for black-and-white prints.
constexpr const char* kBlue = "#0072B2";
constexpr const char* kVermilion = "#D55E00";
constexpr const char* kGreen = "#007F5F";
constexpr const char* kPurple = "#A7447C";
constexpr const char* kGrid = "#e4e6e8";
constexpr const char* kAxis = "#8a8f94";
constexpr const char* kInk = "#222222";

constexpr double kWidth = 800, kLeft = 64, kRight = 24;
constexpr double kPlotWidth = kWidth - kLeft - kRight;
constexpr double kLegendRow = 18;

struct Series {
  std::string name;
  std::function<double(const EpochRecord&)> value;
  const char* color;
  const char* dashes;
};

struct Range {
  double lo, hi;
};

/// Lines whose legends stand beside each other, behind the row's name, which may be empty.
struct Row {
  const char* name;
  std::vector<Series> series;
};

/// No row has more lines than the first.
struct Panel {
  const char* title;
  std::vector<Row> rows;
  double height;
  Range range;
  double top = 0;
};

/// A legend of several rows has lines of its own beneath the title.
double title_room(const Panel& panel) { return panel.rows.size() > 1 ? kLegendRow : 0; }

/// The values' range with room around it; [0, 1] where there are none.
Range range_of(std::span<const EpochRecord> history, std::span<const Series> series,
               bool from_zero) {
  double lo = INFINITY, hi = -INFINITY;
  for (const EpochRecord& record : history) {
    for (const Series& s : series) {
      const double value = s.value(record);
      if (!std::isfinite(value)) continue;
      lo = std::min(lo, value);
      hi = std::max(hi, value);
    }
  }
  if (lo > hi) return {0, 1};
  if (from_zero || (lo > 0 && lo < 0.5 * hi)) lo = std::min(lo, 0.0);
  const double span = hi - lo;
  if (span <= 1e-12 * std::max(std::abs(hi), 1e-300) || span == 0) {
    const double room = hi == 0 ? 1 : std::abs(hi) * 0.5;
    return {lo - (from_zero ? 0 : room), hi + room};
  }
  return {lo == 0 ? 0 : lo - 0.06 * span, hi + 0.06 * span};
}

class Plot {
 public:
  Plot(std::span<const EpochRecord> history, int best_epoch, double height)
      : history_(history), best_(best_epoch), svg_(kWidth, height, "Training curves") {
    first_ = history.front().epoch;
    last_ = first_;
    for (const EpochRecord& record : history) {
      first_ = std::min(first_, record.epoch);
      last_ = std::max(last_, record.epoch);
    }
  }

  void draw(const Panel& panel) {
    const double bottom = panel.top + panel.height;
    const auto y_of = [&](double value) {
      return bottom - (value - panel.range.lo) / (panel.range.hi - panel.range.lo) * panel.height;
    };
    svg_.text(kLeft, legend_line(panel, 0) - title_room(panel), panel.title,
              {.size = 14, .fill = kInk, .bold = true});
    const std::vector<double> ticks = round_ticks(panel.range.lo, panel.range.hi,
                                                  std::max(3, static_cast<int>(panel.height / 42)));
    const double step = ticks.size() > 1 ? ticks[1] - ticks[0] : panel.range.hi - panel.range.lo;
    for (double tick : ticks) {
      svg_.line(kLeft, y_of(tick), kLeft + kPlotWidth, y_of(tick), kGrid);
      svg_.text(kLeft - 8, y_of(tick) + 4, tick_label(tick, step),
                {.size = 12, .anchor = "end", .fill = "#555"});
    }
    for (int epoch : epoch_ticks()) {
      svg_.line(x_of(epoch), bottom, x_of(epoch), bottom + 4, kAxis);
      svg_.text(x_of(epoch), bottom + 18, std::to_string(epoch),
                {.size = 12, .anchor = "middle", .fill = "#555"});
    }
    svg_.line(kLeft, bottom, kLeft + kPlotWidth, bottom, kAxis);
    if (best_ >= first_ && best_ <= last_) {
      svg_.line(x_of(best_), panel.top, x_of(best_), bottom, "#777", 1.2, "3 3");
    }
    for (const Row& row : panel.rows) {
      for (const Series& series : row.series) draw_series(series, y_of);
    }
    legend(panel);
  }

  /// The word under the last axis, and what the dotted line means.
  void finish_axis(double bottom) {
    svg_.text(kLeft + kPlotWidth, bottom + 36, "epoch",
              {.size = 12, .anchor = "end", .fill = "#555"});
    if (best_ >= first_ && best_ <= last_) {
      svg_.line(kLeft, bottom + 32, kLeft + 24, bottom + 32, "#777", 1.2, "3 3");
      svg_.text(kLeft + 30, bottom + 36, fmt::format("best epoch: {}", best_),
                {.size = 12, .fill = "#555"});
    }
  }

  std::string finish() && { return std::move(svg_).finish(); }

 private:
  double x_of(int64_t epoch) const {
    if (first_ == last_) return kLeft + kPlotWidth * 0.5;
    constexpr double kInset = 8;
    return kLeft + kInset +
           (kPlotWidth - 2 * kInset) * static_cast<double>(epoch - first_) /
               static_cast<double>(last_ - first_);
  }

  std::vector<int64_t> epoch_ticks() const {
    if (first_ == last_) return {first_};
    std::vector<int64_t> epochs;
    for (double tick : round_ticks(static_cast<double>(first_), static_cast<double>(last_), 12)) {
      if (tick == std::floor(tick)) epochs.push_back(static_cast<int64_t>(tick));
    }
    return epochs;
  }

  template <class Scale>
  void draw_series(const Series& series, Scale y_of) {
    std::vector<Svg::Point> run;
    std::vector<Svg::Point> all;
    const auto flush = [&] {
      if (run.size() > 1) svg_.polyline(run, series.color, 2, series.dashes);
      run.clear();
    };
    for (const EpochRecord& record : history_) {
      const double value = series.value(record);
      if (!std::isfinite(value)) {
        flush();
        continue;
      }
      run.push_back({x_of(record.epoch), y_of(value)});
      all.push_back(run.back());
    }
    flush();
    if (history_.size() <= 40) {
      for (const Svg::Point& p : all) svg_.circle(p.x, p.y, 3, series.color);
    }
  }

  static std::string value_label(double value) {
    if (!std::isfinite(value)) return "-";
    const bool plain = std::abs(value) >= 0.01 && std::abs(value) < 100;
    return plain ? fmt::format("{:.3f}", value) : short_number(value);
  }

  std::string legend_label(const Series& series) const {
    double last = NAN;
    for (const EpochRecord& record : history_) {
      const double value = series.value(record);
      if (std::isfinite(value)) last = value;
    }
    return fmt::format("{}  {}", series.name, value_label(last));
  }

  /// Where the text of a row of the legend stands; the last one is just above the plot.
  static double legend_line(const Panel& panel, size_t row) {
    return panel.top - 12 - kLegendRow * static_cast<double>(panel.rows.size() - 1 - row);
  }

  /// Right of the title, or beneath it: a stroke, the name and the last value of each line.
  void legend(const Panel& panel) {
    double x = kLeft + kPlotWidth;
    for (size_t column = panel.rows.front().series.size(); column-- > 0;) {
      size_t longest = 0;
      for (size_t row = 0; row < panel.rows.size(); ++row) {
        if (column >= panel.rows[row].series.size()) continue;
        const std::string label = legend_label(panel.rows[row].series[column]);
        longest = std::max(longest, label.size());
        svg_.text(x, legend_line(panel, row), label, {.size = 12, .anchor = "end", .fill = kInk});
      }
      // Wide enough for the broadest of the usual fonts.
      x -= 6.3 * static_cast<double>(longest) + 30;
      for (size_t row = 0; row < panel.rows.size(); ++row) {
        if (column >= panel.rows[row].series.size()) continue;
        const Series& series = panel.rows[row].series[column];
        const double y = legend_line(panel, row) - 4;
        svg_.polyline({{x, y}, {x + 24, y}}, series.color, 2.5, series.dashes);
      }
      x -= 28;
    }
    for (size_t row = 0; row < panel.rows.size(); ++row) {
      const char* name = panel.rows[row].name;
      if (*name == '\0') continue;
      svg_.text(x, legend_line(panel, row), name, {.size = 12, .anchor = "end", .fill = "#555"});
    }
  }

  std::span<const EpochRecord> history_;
  int best_;
  Svg svg_;
  int64_t first_, last_;
};

/// What an epoch's list of named values says under `name`; NaN where it says nothing.
std::function<double(const EpochRecord&)> value_of(std::vector<Score> EpochRecord::*list,
                                                   const std::string& name) {
  return [=](const EpochRecord& record) {
    const auto found = std::ranges::find(record.*list, name, &Score::name);
    return found == (record.*list).end() ? NAN : found->value;
  };
}

/// A row for training and one for validation, in each a line for every term that the loss of any
/// epoch has: the colour is the term's.
std::vector<Row> terms_of(std::span<const EpochRecord> history) {
  constexpr std::array<const char*, 4> kColors{kBlue, kVermilion, kGreen, kPurple};
  constexpr std::string_view kTraining = "train_", kValidation = "val_";
  std::vector<Row> rows{{"training", {}}, {"validation", {}}};
  std::set<std::string> known;
  for (const EpochRecord& record : history) {
    for (const Score& term : record.terms) {
      const std::string_view prefix = term.name.starts_with(kTraining) ? kTraining : kValidation;
      const std::string name = term.name.substr(prefix.size());
      if (!known.insert(name).second) continue;
      const char* color = kColors[rows[0].series.size() % kColors.size()];
      const auto add = [&](Row& row, std::string_view of, const char* dashes) {
        row.series.push_back(
            {name, value_of(&EpochRecord::terms, std::string(of) + name), color, dashes});
      };
      add(rows[0], kTraining, "");
      add(rows[1], kValidation, "7 4");
    }
  }
  return rows;
}

/// A line for each score that any epoch has, three legends beside each other.
std::vector<Row> scores_of(std::span<const EpochRecord> history) {
  constexpr std::array<const char*, 4> kColors{kGreen, kPurple, kBlue, kVermilion};
  constexpr std::array<const char*, 3> kDashes{"", "7 4", "2 3"};
  constexpr size_t kLegends = 3;
  std::vector<Row> rows{{"", {}}};
  std::set<std::string> known;
  for (const EpochRecord& record : history) {
    for (const Score& score : record.scores) {
      const size_t lines = known.size();
      if (!known.insert(score.name).second) continue;
      if (rows.back().series.size() == kLegends) rows.push_back({"", {}});
      rows.back().series.push_back(
          {title_of(score.name), value_of(&EpochRecord::scores, score.name),
           kColors[lines % kColors.size()], kDashes[lines % kDashes.size()]});
    }
  }
  return rows;
}

}  // namespace

std::string curves_svg(std::span<const EpochRecord> history, int best_epoch) {
  if (history.empty()) {
    Svg svg(kWidth, 120, "Training curves");
    svg.text(kWidth / 2, 64, "No epoch has been finished yet.",
             {.size = 14, .anchor = "middle", .fill = "#555"});
    return std::move(svg).finish();
  }
  const std::vector<Series> losses = {{"training", &EpochRecord::train_loss, kBlue, ""},
                                      {"validation", &EpochRecord::val_loss, kVermilion, "7 4"}};
  const std::vector<Series> rates = {{"learning rate", &EpochRecord::lr, kBlue, ""}};
  std::vector<Panel> panels{{"Loss", {{"", losses}}, 210, range_of(history, losses, false)}};
  if (const std::vector<Row> terms = terms_of(history); terms[0].series.size() > 1) {
    std::vector<Series> all = terms[0].series;
    all.insert(all.end(), terms[1].series.begin(), terms[1].series.end());
    panels.push_back({"Loss terms", terms, 150, range_of(history, all, false)});
  }
  panels.push_back({"Validation scores", scores_of(history), 210, {0, 1}});
  panels.push_back({"Learning rate", {{"", rates}}, 110, range_of(history, rates, true)});
  double bottom = -28;
  for (Panel& panel : panels) {
    panel.top =
        bottom + 72 + title_room(panel) + kLegendRow * static_cast<double>(panel.rows.size() - 1);
    bottom = panel.top + panel.height;
  }
  Plot plot(history, best_epoch, bottom + 50);
  for (const Panel& panel : panels) plot.draw(panel);
  plot.finish_axis(bottom);
  return std::move(plot).finish();
}

}  // namespace macadam
