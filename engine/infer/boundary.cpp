#include "engine/infer/boundary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

constexpr int kNone = -1;

/// The value of each pixel of a row that lies further than `distance` columns from another value
/// and from the row's ends; kNone for the others.
void row_interiors(std::span<const uint8_t> row, int distance, std::span<int> out) {
  const auto reach = to_size(distance);
  std::ranges::fill(out, kNone);
  for (size_t begin = 0, end = 0; begin < row.size(); begin = end) {
    while (end < row.size() && row[end] == row[begin]) ++end;
    for (size_t x = begin + reach; x + reach < end; ++x) out[x] = row[begin];
  }
}

}  // namespace

int boundary_width(double ratio, int height, int width) {
  const auto h = static_cast<double>(height), w = static_cast<double>(width);
  const double diagonal = std::sqrt(h * h + w * w);
  return std::max(1, static_cast<int>(std::nearbyint(ratio * diagonal)));
}

std::vector<uint8_t> boundary_pixels(std::span<const uint8_t> values, int height, int width,
                                     int distance) {
  require(values.size() == to_size(height) * to_size(width), "one value a pixel");
  require(distance >= 1, "a boundary has a width");
  const auto columns = to_size(width);
  std::vector<uint8_t> boundary(values.size(), 1);
  std::vector<int> interiors(columns), above(columns, kNone);
  std::vector<int> rows(columns);  // in which a column's interior value has been the same
  for (int y = 0; y < height; ++y) {
    row_interiors(values.subspan(to_size(y) * columns, columns), distance, interiors);
    for (size_t x = 0; x < columns; ++x) {
      rows[x] = interiors[x] == kNone ? 0 : interiors[x] == above[x] ? rows[x] + 1 : 1;
      // 2 distance + 1 rows down to this one: that in the middle has nothing else around it.
      if (rows[x] > 2 * distance) boundary[to_size(y - distance) * columns + x] = 0;
    }
    std::swap(interiors, above);
  }
  return boundary;
}

BoundaryCounts::BoundaryCounts(int classes, double ratio)
    : ratio_(ratio),
      label_(to_size(classes)),
      prediction_(to_size(classes)),
      both_(to_size(classes)) {
  require(classes >= 1 && ratio > 0, "boundaries of some width, of at least one class");
}

void BoundaryCounts::add(std::span<const uint8_t> labels, std::span<const uint8_t> predictions,
                         int height, int width) {
  require(labels.size() == predictions.size(), "a prediction a label");
  constexpr uint8_t kOther = std::numeric_limits<uint8_t>::max();
  const size_t classes = both_.size();
  std::vector<uint8_t> truth(labels.size()), found(labels.size());
  for (size_t p = 0; p < labels.size(); ++p) {
    truth[p] = labels[p] < classes ? labels[p] : kOther;
    found[p] = labels[p] < classes && predictions[p] < classes ? predictions[p] : kOther;
  }
  const int distance = boundary_width(ratio_, height, width);
  const std::vector<uint8_t> at_truth = boundary_pixels(truth, height, width, distance);
  const std::vector<uint8_t> at_found = boundary_pixels(found, height, width, distance);
  for (size_t p = 0; p < truth.size(); ++p) {
    const bool is_truth = at_truth[p] != 0 && truth[p] != kOther;
    const bool is_found = at_found[p] != 0 && found[p] != kOther;
    if (is_truth) ++label_[truth[p]];
    if (is_found) ++prediction_[found[p]];
    if (is_truth && is_found && truth[p] == found[p]) ++both_[truth[p]];
  }
}

double BoundaryCounts::iou(int label) const {
  const auto c = to_size(label);
  const uint64_t either = label_.at(c) + prediction_.at(c) - both_.at(c);
  return either == 0 ? std::numeric_limits<double>::quiet_NaN()
                     : static_cast<double>(both_[c]) / static_cast<double>(either);
}

void add_boundary_scores(const BoundaryCounts& counts, SegmentationMetrics& metrics) {
  require(to_size(counts.classes()) == metrics.classes.size(), "boundaries of the same classes");
  std::vector<double> ious;
  for (int c = 0; c < counts.classes(); ++c) {
    ious.push_back(counts.iou(c));
    metrics.classes[to_size(c)].boundary_iou = ious.back();
  }
  metrics.scores.push_back(
      {fmt::format("mbiou_{}", suffix_of(metrics.absent)), mean_score(ious, metrics.absent)});
}

}  // namespace macadam
