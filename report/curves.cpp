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

struct Series {
  std::string name;
  std::function<double(const EpochRecord&)> value;
  const char* color;
  const char* dashes;
};

struct Range {
  double lo, hi;
};

struct Panel {
  const char* title;
  std::vector<Series> series;
  double top, height;
  Range range;
};

/// The values' range with room around it; [0, 1] where there are none.
Range range_of(std::span<const EpochRecord> history, const std::vector<Series>& series,
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
    svg_.text(kLeft, panel.top - 12, panel.title, {.size = 14, .fill = kInk, .bold = true});
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
    for (const Series& series : panel.series) draw_series(series, y_of);
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

  /// Right of the title: a stroke, the name and the last value of each line.
  void legend(const Panel& panel) {
    double x = kLeft + kPlotWidth;
    for (auto series = panel.series.rbegin(); series != panel.series.rend(); ++series) {
      double last = NAN;
      for (const EpochRecord& record : history_) {
        const double value = series->value(record);
        if (std::isfinite(value)) last = value;
      }
      const std::string label = fmt::format("{}  {}", series->name, value_label(last));
      svg_.text(x, panel.top - 12, label, {.size = 12, .anchor = "end", .fill = kInk});
      // Wide enough for the broadest of the usual fonts.
      x -= 6.3 * static_cast<double>(label.size()) + 30;
      svg_.polyline({{x, panel.top - 16}, {x + 24, panel.top - 16}}, series->color, 2.5,
                    series->dashes);
      x -= 28;
    }
  }

  std::span<const EpochRecord> history_;
  int best_;
  Svg svg_;
  int64_t first_, last_;
};

/// A line for each score that any epoch has.
std::vector<Series> scores_of(std::span<const EpochRecord> history) {
  constexpr std::array<const char*, 4> kColors{kGreen, kPurple, kBlue, kVermilion};
  constexpr std::array<const char*, 3> kDashes{"", "7 4", "2 3"};
  std::vector<Series> series;
  std::set<std::string> known;
  for (const EpochRecord& record : history) {
    for (const Score& score : record.scores) {
      if (!known.insert(score.name).second) continue;
      const auto value = [name = score.name](const EpochRecord& one) {
        const auto found = std::ranges::find(one.scores, name, &Score::name);
        return found == one.scores.end() ? NAN : found->value;
      };
      series.push_back({title_of(score.name), value, kColors[series.size() % kColors.size()],
                        kDashes[series.size() % kDashes.size()]});
    }
  }
  return series;
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
  const std::vector<Series> scores = scores_of(history);
  const std::vector<Series> rates = {{"learning rate", &EpochRecord::lr, kBlue, ""}};
  const Panel panels[] = {
      {"Loss", losses, 44, 210, range_of(history, losses, false)},
      {"Validation scores", scores, 326, 210, {0, 1}},
      {"Learning rate", rates, 608, 110, range_of(history, rates, true)},
  };
  const double bottom = panels[2].top + panels[2].height;
  Plot plot(history, best_epoch, bottom + 50);
  for (const Panel& panel : panels) plot.draw(panel);
  plot.finish_axis(bottom);
  return std::move(plot).finish();
}

}  // namespace macadam
