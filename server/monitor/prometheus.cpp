#include "server/monitor/prometheus.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

std::string escaped_value(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    if (c == '\n') {
      text += "\\n";
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

Histogram::Histogram(std::span<const double> bounds)
    : bounds_(bounds.begin(), bounds.end()), counts_(bounds.size() + 1) {
  require(std::ranges::is_sorted(bounds_), "bounds ascend");
}

void Histogram::add(double value) {
  const auto bound = std::ranges::lower_bound(bounds_, value);
  ++counts_[to_size(bound - bounds_.begin())];
  sum_ += value;
}

std::span<const double> latency_bounds() {
  static constexpr std::array<double, 15> kBounds{
      0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
  return kBounds;
}

std::span<const double> batch_bounds() {
  static constexpr std::array<double, 7> kBounds{1, 2, 4, 8, 16, 32, 64};
  return kBounds;
}

void MetricsPage::metric(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void MetricsPage::line(std::string_view suffix, const Labels& labels, std::string_view value) {
  text_ += name_;
  text_ += suffix;
  std::string separator = "{";
  for (const auto& [key, content] : labels) {
    text_ += fmt::format("{}{}=\"{}\"", separator, key, escaped_value(content));
    separator = ",";
  }
  if (!labels.empty()) text_ += '}';
  text_ += fmt::format(" {}\n", value);
}

void MetricsPage::value(const Labels& labels, double value) {
  line("", labels, fmt::format("{}", value));
}

void MetricsPage::value(const Labels& labels, uint64_t value) {
  line("", labels, fmt::format("{}", value));
}

void MetricsPage::histogram(const Labels& labels, const Histogram& histogram) {
  Labels with_bound = labels;
  with_bound.emplace_back("le", "");
  uint64_t count = 0;
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    count += histogram.counts()[i];
    with_bound.back().second =
        i < histogram.bounds().size() ? fmt::format("{}", histogram.bounds()[i]) : "+Inf";
    line("_bucket", with_bound, fmt::format("{}", count));
  }
  line("_sum", labels, fmt::format("{}", histogram.sum()));
  line("_count", labels, fmt::format("{}", count));
}

}  // namespace macadam
