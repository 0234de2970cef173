#pragma once
// The scores of the official Cityscapes evaluation, from counts of label ids.
// Source: cityscapesScripts 2.3.0, evaluation/evalPixelLevelSemanticLabeling.py and
// helpers/labels.py.

#include <string>
#include <vector>

#include "engine/infer/metrics.h"

namespace macadam {

/// Label ids 0 to 33.
inline constexpr int kCityscapesIds = 34;

struct CityscapesScores {
  struct Score {
    std::string name;
    double iou = 0;  // NaN when neither labelled nor predicted
  };
  std::vector<Score> classes;              // the 19 that are evaluated
  std::vector<Score> categories;           // the 7 besides void
  double class_iou = 0, category_iou = 0;  // means of those that are not NaN; NaN without any
};

/// `ids`: rows are the ids of the labels, columns those that were predicted, of masks at their own
/// size. Pixels whose label id is not evaluated (void, but also parking, rail track, guard rail,
/// bridge, tunnel, polegroup, caravan and trailer) count nowhere; a prediction of such an id is a
/// miss of its label and no false alarm of its category. Requires kCityscapesIds classes.
CityscapesScores cityscapes_scores(const ConfusionMatrix& ids);

/// Mean of those that are not NaN; NaN without any.
double mean_of(const std::vector<CityscapesScores::Score>& scores);

}  // namespace macadam
