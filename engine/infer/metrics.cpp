#include "engine/infer/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "base/text.h"
#include "base/to_size.h"

namespace macadam {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kTableWidth = 80;  // of a terminal that nobody made wider
constexpr size_t kLeastCell = 7;    // of a confusion table: "100.00" and a space

double ratio(uint64_t part, uint64_t whole) {
  return whole == 0 ? kNan : static_cast<double>(part) / static_cast<double>(whole);
}

double mean(std::span<const ClassMetrics> classes, double ClassMetrics::*value, AbsentRule absent) {
  std::vector<double> values;
  for (const ClassMetrics& c : classes) values.push_back(c.*value);
  return mean_score(values, absent);
}

/// The classes' IoU, each by its share of the labelled pixels.
double weighted_iou(const SegmentationMetrics& metrics) {
  if (metrics.pixels == 0) return kNan;
  double sum = 0;
  for (const ClassMetrics& c : metrics.classes) {
    if (c.label_pixels > 0) sum += static_cast<double>(c.label_pixels) * c.iou;
  }
  return sum / static_cast<double>(metrics.pixels);
}

std::vector<std::string> printable_names(std::span<const std::string> names) {
  std::vector<std::string> result;
  for (const std::string& name : names) result.push_back(printable(name));
  return result;
}

size_t widest(std::span<const std::string> names, size_t least) {
  for (const std::string& name : names) least = std::max(least, text_width(name));
  return least;
}

}  // namespace

std::string_view suffix_of(AbsentRule rule) {
  switch (rule) {
    case AbsentRule::drop: return "present";
    case AbsentRule::one: return "absent1";
    case AbsentRule::zero: return "absent0";
  }
  throw std::logic_error("requirement violated: a known absent-class rule");
}

ConfusionMatrix::ConfusionMatrix(int classes) : classes_(classes) {
  require(classes >= 1, "a confusion matrix has at least one class");
  counts_.resize(to_size(classes) * to_size(classes));
  unclassified_.resize(to_size(classes));
}

ConfusionMatrix::ConfusionMatrix(int classes, std::vector<uint64_t> counts)
    : classes_(classes), counts_(std::move(counts)) {
  require(classes >= 1, "a confusion matrix has at least one class");
  require(counts_.size() == to_size(classes) * to_size(classes),
          "a confusion matrix has classes x classes counts");
  unclassified_.resize(to_size(classes));
}

size_t ConfusionMatrix::index(int label, int prediction) const {
  require(label >= 0 && label < classes_ && prediction >= 0 && prediction < classes_,
          "label and prediction are classes of the confusion matrix");
  return to_size(label) * to_size(classes_) + to_size(prediction);
}

uint64_t ConfusionMatrix::at(int label, int prediction) const {
  return counts_[index(label, prediction)];
}

void ConfusionMatrix::add(int label, int prediction, uint64_t pixels) {
  counts_[index(label, prediction)] += pixels;
}

uint64_t ConfusionMatrix::unclassified(int label) const {
  require(label >= 0 && label < classes_, "the label is a class of the confusion matrix");
  return unclassified_[to_size(label)];
}

void ConfusionMatrix::add_unclassified(int label, uint64_t pixels) {
  require(label >= 0 && label < classes_, "the label is a class of the confusion matrix");
  unclassified_[to_size(label)] += pixels;
}

bool ConfusionMatrix::has_unclassified() const {
  return std::ranges::any_of(unclassified_, [](uint64_t pixels) { return pixels > 0; });
}

ConfusionMatrix& ConfusionMatrix::operator+=(const ConfusionMatrix& other) {
  require(classes_ == other.classes_, "added confusion matrices have the same classes");
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  for (size_t c = 0; c < unclassified_.size(); ++c) unclassified_[c] += other.unclassified_[c];
  return *this;
}

double mean_score(std::span<const double> values, AbsentRule absent) {
  double sum = 0;
  int count = 0;
  for (const double value : values) {
    if (!std::isnan(value)) {
      sum += value;
    } else if (absent == AbsentRule::drop) {
      continue;
    } else if (absent == AbsentRule::one) {
      sum += 1;
    }
    ++count;
  }
  return count == 0 ? kNan : sum / count;
}

std::string title_of(std::string_view score) {
  if (score.starts_with("miou_")) return "mean IoU";
  if (score.starts_with("mdice_")) return "mean Dice";
  if (score.starts_with("macc_")) return "mean class accuracy";
  if (score.starts_with("mbiou_")) return "mean boundary IoU";
  if (score == "fwiou") return "frequency-weighted IoU";
  std::string title(score);
  std::ranges::replace(title, '_', ' ');
  return title;
}

SegmentationMetrics compute_metrics(const ConfusionMatrix& matrix, AbsentRule absent) {
  SegmentationMetrics result;
  result.absent = absent;
  result.classes.resize(to_size(matrix.classes()));
  uint64_t correct = 0;
  for (int c = 0; c < matrix.classes(); ++c) {
    ClassMetrics& metrics = result.classes[to_size(c)];
    metrics.label_pixels = matrix.unclassified(c);
    for (int other = 0; other < matrix.classes(); ++other) {
      metrics.label_pixels += matrix.at(c, other);
      metrics.predicted_pixels += matrix.at(other, c);
    }
    const uint64_t hits = matrix.at(c, c);
    const uint64_t both = metrics.label_pixels + metrics.predicted_pixels;  // 2 TP + FP + FN
    metrics.iou = ratio(hits, both - hits);
    metrics.dice = ratio(2 * hits, both);
    metrics.precision = ratio(hits, metrics.predicted_pixels);
    metrics.recall = ratio(hits, metrics.label_pixels);
    correct += hits;
    result.pixels += metrics.label_pixels;
  }
  const std::string_view suffix = suffix_of(absent);
  result.scores = {
      {fmt::format("miou_{}", suffix), mean(result.classes, &ClassMetrics::iou, absent)},
      {fmt::format("mdice_{}", suffix), mean(result.classes, &ClassMetrics::dice, absent)},
      {"pixel_accuracy", ratio(correct, result.pixels)},
      {fmt::format("macc_{}", suffix), mean(result.classes, &ClassMetrics::recall, absent)},
      {"fwiou", weighted_iou(result)}};
  return result;
}

std::string score_text(double value) {
  return std::isnan(value) ? "-" : fmt::format("{:.4f}", value);
}

std::string metrics_table(const SegmentationMetrics& metrics,
                          std::span<const std::string> class_names) {
  require(class_names.size() == metrics.classes.size(), "one name a class");
  const std::vector<std::string> names = printable_names(class_names);
  size_t longest = 0;
  for (const Score& score : metrics.scores) longest = std::max(longest, score.name.size());
  const size_t width = widest(names, longest);
  const bool boundary = std::ranges::any_of(
      metrics.classes, [](const ClassMetrics& c) { return c.boundary_iou.has_value(); });
  const auto line = [&](std::string_view name, const std::array<std::string, 7>& cells) {
    const std::array<size_t, 7> widths{8, 8, boundary ? 8u : 0, 11, 8, 11, 11};
    std::string text = pad_right(name, width);
    for (size_t i = 0; i < cells.size(); ++i) text += pad_left(cells[i], widths[i]);
    return text + "\n";
  };
  std::string table = line("class", {"IoU", "Dice", boundary ? "B-IoU" : "", "precision", "recall",
                                     "label px", "pred. px"});
  for (size_t c = 0; c < names.size(); ++c) {
    const ClassMetrics& m = metrics.classes[c];
    table += line(names[c], {score_text(m.iou), score_text(m.dice),
                             m.boundary_iou ? score_text(*m.boundary_iou) : "",
                             score_text(m.precision), score_text(m.recall),
                             fmt::to_string(m.label_pixels), fmt::to_string(m.predicted_pixels)});
  }
  for (const Score& score : metrics.scores) {
    table += fmt::format("{}  {:>6}\n", pad_right(score.name, width), score_text(score.value));
  }
  return table;
}

std::string confusion_table(const ConfusionMatrix& matrix,
                            std::span<const std::string> class_names) {
  require(class_names.size() == to_size(matrix.classes()), "one name a class");
  const std::vector<std::string> names = printable_names(class_names);
  std::vector<std::string> columns = names;
  if (matrix.has_unclassified()) columns.emplace_back("(none)");
  std::vector<uint64_t> rows(names.size());
  for (int label = 0; label < matrix.classes(); ++label) {
    rows[to_size(label)] = matrix.unclassified(label);
    for (int p = 0; p < matrix.classes(); ++p) rows[to_size(label)] += matrix.at(label, p);
  }
  const auto text = [&](size_t label, size_t column) {
    const int row = static_cast<int>(label), p = static_cast<int>(column);
    const double share =
        ratio(p < matrix.classes() ? matrix.at(row, p) : matrix.unclassified(row), rows[label]);
    return std::isnan(share) ? std::string("-") : fmt::format("{:.2f}", 100 * share);
  };
  const size_t width = widest(names, std::string_view("label \\ %").size());
  std::string table;
  for (size_t begin = 0, end = 0; begin < columns.size(); begin = end) {
    if (begin > 0) table += "\n";
    std::vector<size_t> cells;
    for (size_t used = width; end < columns.size(); ++end) {
      cells.push_back(2 + std::max(kLeastCell, text_width(columns[end])));
      used += cells.back();
      if (used > kTableWidth && end > begin) break;
    }
    const auto line = [&](std::string_view name, const auto& cell) {
      table += pad_right(name, width);
      for (size_t c = begin; c < end; ++c) table += pad_left(cell(c), cells[c - begin]);
      table += "\n";
    };
    line("label \\ %", [&](size_t c) { return columns[c]; });
    for (size_t label = 0; label < names.size(); ++label) {
      line(names[label], [&](size_t c) { return text(label, c); });
    }
  }
  return table;
}

nlohmann::ordered_json json_number(double value) {
  return std::isnan(value) ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(value);
}

nlohmann::ordered_json metrics_json(const SegmentationMetrics& metrics,
                                    const ConfusionMatrix& matrix,
                                    std::span<const std::string> names) {
  require(names.size() == metrics.classes.size(), "one name a class");
  require(names.size() == to_size(matrix.classes()), "one row a class");
  nlohmann::ordered_json root;
  for (const Score& score : metrics.scores) root[score.name] = json_number(score.value);
  root["pixels"] = metrics.pixels;
  root["classes"] = nlohmann::ordered_json::array();
  root["confusion"] = nlohmann::ordered_json::array();
  if (matrix.has_unclassified()) root["unclassified"] = nlohmann::ordered_json::array();
  for (size_t c = 0; c < names.size(); ++c) {
    if (matrix.has_unclassified()) {
      root["unclassified"].push_back(matrix.unclassified(static_cast<int>(c)));
    }
    const ClassMetrics& m = metrics.classes[c];
    root["classes"].push_back({{"name", names[c]},
                               {"iou", json_number(m.iou)},
                               {"dice", json_number(m.dice)},
                               {"precision", json_number(m.precision)},
                               {"recall", json_number(m.recall)},
                               {"label_pixels", m.label_pixels},
                               {"predicted_pixels", m.predicted_pixels}});
    if (m.boundary_iou) root["classes"].back()["boundary_iou"] = json_number(*m.boundary_iou);
    const auto row = matrix.counts().subspan(c * names.size(), names.size());
    root["confusion"].push_back(std::vector<uint64_t>(row.begin(), row.end()));
  }
  return root;
}

}  // namespace macadam
