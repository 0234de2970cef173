#include "loader/cityscapes_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "loader/label_set.h"

namespace macadam {

namespace {

using Ids = std::vector<int>;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// The evaluated ids that `labels` gives the class `label`.
Ids evaluated_ids(const LabelSet& labels, const LabelSet& evaluated, size_t label) {
  Ids ids;
  for (size_t id = 0; id < kCityscapesIds; ++id) {
    if (labels.label_of_id[id] == label && evaluated.label_of_id[id] != kIgnore) {
      ids.push_back(static_cast<int>(id));
    }
  }
  return ids;
}

/// IoU of a group of ids taken as one, over the pixels whose label is one of `rows`.
double iou(const ConfusionMatrix& counts, const Ids& rows, const Ids& group) {
  const auto in_group = [&](int id) { return std::ranges::find(group, id) != group.end(); };
  uint64_t hits = 0, missed = 0, false_alarms = 0;
  for (const int label : rows) {
    if (in_group(label)) missed += counts.unclassified(label);
    for (int prediction = 0; prediction < kCityscapesIds; ++prediction) {
      const uint64_t pixels = counts.at(label, prediction);
      if (in_group(label)) {
        (in_group(prediction) ? hits : missed) += pixels;
      } else if (in_group(prediction)) {
        false_alarms += pixels;
      }
    }
  }
  const uint64_t all = hits + missed + false_alarms;
  return all == 0 ? kNaN : static_cast<double>(hits) / static_cast<double>(all);
}

}  // namespace

CityscapesScores cityscapes_scores(const ConfusionMatrix& ids) {
  require(ids.classes() == kCityscapesIds, "counts of Cityscapes ids");
  // The evaluated classes are those of trainids19; a category is its evaluated classes.
  const LabelSet classes = make_label_set("trainids19", VoidPolicy::ignore, {});
  const LabelSet categories = make_label_set("categories8", VoidPolicy::ignore, {});
  Ids evaluated;
  for (size_t id = 0; id < kCityscapesIds; ++id) {
    if (classes.label_of_id[id] != kIgnore) evaluated.push_back(static_cast<int>(id));
  }
  const auto score = [&](const LabelSet& labels) {
    std::vector<CityscapesScores::Score> scores;
    for (size_t c = 0; c < labels.class_names.size(); ++c) {
      scores.push_back(
          {labels.class_names[c], iou(ids, evaluated, evaluated_ids(labels, classes, c))});
    }
    return scores;
  };
  CityscapesScores result;
  result.classes = score(classes);
  result.categories = score(categories);
  result.class_iou = mean_of(result.classes);
  result.category_iou = mean_of(result.categories);
  return result;
}

double mean_of(const std::vector<CityscapesScores::Score>& scores) {
  double sum = 0;
  int count = 0;
  for (const auto& score : scores) {
    if (std::isnan(score.iou)) continue;
    sum += score.iou;
    ++count;
  }
  return count == 0 ? kNaN : sum / count;
}

}  // namespace macadam
