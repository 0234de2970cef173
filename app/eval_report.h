#pragma once
// What `macadam eval` says of a split that it has scored, to people and to programs.

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/model/model_file.h"
#include "loader/cityscapes_instances.h"
#include "loader/cityscapes_scores.h"
#include "loader/label_set.h"
#include "run/scoring.h"

namespace macadam {

/// A model that was scored, and how.
struct ScoredModel {
  ModelInfo info;
  PhotoScoring scoring;
  std::string precision, device;
};

/// What was scored; the scores.
struct ScoredSplit {
  std::string path;  // of the model, or of the folder of masks
  std::string dataset, split;
  size_t images = 0;
  LabelSet labels;
  std::optional<ScoredModel> model;  // nothing for masks of a folder
  std::string mask_values;           // of a folder: "dataset" or "classes"
  PhotoScores scores;
  SegmentationMetrics metrics = {};
  std::optional<CityscapesScores> official = std::nullopt;
  std::optional<CityscapesInstanceScores> instances = std::nullopt;

  /// Whether masks were compared at the labels' own size.
  bool at_label_size() const { return !model || model->scoring.at_label_size(); }
};

/// What is to be known before a score is read, a sentence each: labels of one class or of none,
/// masks whose values are likely something else.
std::vector<std::string> doubts_about(const ScoredSplit& scored);

/// Tables on stdout.
void print_scores(const ScoredSplit& scored);
/// The object of --json (docs/scores.md).
nlohmann::ordered_json scores_json(const ScoredSplit& scored);

}  // namespace macadam
