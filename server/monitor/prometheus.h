#pragma once
// Prometheus' text format, and the counters behind it. Source: the exposition formats of
// prometheus.io, version 0.0.4.

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace macadam {

/// Names and values of labels. Values come from lists of this program's own, never from clients: so
/// the number of series is bounded.
using Labels = std::vector<std::pair<std::string, std::string>>;

/// How many values lie at or below each bound, as a histogram of Prometheus counts them. Not
/// locked.
class Histogram {
 public:
  /// Requires ascending bounds.
  explicit Histogram(std::span<const double> bounds);
  void add(double value);

  std::span<const double> bounds() const { return bounds_; }
  /// Of values above the bound before and at most this one; the last: above all bounds.
  std::span<const uint64_t> counts() const { return counts_; }
  double sum() const { return sum_; }

 private:
  std::vector<double> bounds_;
  std::vector<uint64_t> counts_;
  double sum_ = 0;
};

/// Seconds, from half a millisecond to half a minute.
std::span<const double> latency_bounds();
/// Photos of a batch: 1, 2, 4, ... 64.
std::span<const double> batch_bounds();

/// Builds a page.
class MetricsPage {
 public:
  /// Begins a metric; what follows belongs to it. `type`: "counter", "gauge" or "histogram".
  void metric(std::string_view name, std::string_view type, std::string_view help);
  void value(const Labels& labels, double value);
  void value(const Labels& labels, uint64_t value);
  void histogram(const Labels& labels, const Histogram& histogram);

  const std::string& text() const { return text_; }

 private:
  void line(std::string_view suffix, const Labels& labels, std::string_view value);

  std::string name_, text_;
};

}  // namespace macadam
