#include "app/eval_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "app/console.h"
#include "base/to_size.h"
#include "loader/pack.h"

namespace macadam {

namespace {

using Json = nlohmann::ordered_json;

/// "whole at 512x256, also mirrored": what the network was shown.
std::string describe_view(const ScoredSplit& scored) {
  const PhotoScoring& scoring = scored.model->scoring;
  std::string text = fmt::format("{} {}x{}", scoring.tile ? "in windows of" : "whole at",
                                 scored.model->info.width, scored.model->info.height);
  if (scoring.scales != std::vector<double>{1.0}) {
    text += fmt::format(" at scales {:g}", fmt::join(scoring.scales, ", "));
  }
  return scoring.flip ? text + ", also mirrored" : text;
}

std::string describe_size(const ScoredSplit& scored) {
  const PhotoScores& scores = scored.scores;
  std::string size = scores.height > 0 ? fmt::format("{}x{}", scores.width, scores.height)
                                       : std::string("each its own");
  if (!scored.at_label_size()) return size;
  return fmt::format("{}, the size of the labels{}", size,
                     is_pack(scored.dataset) ? " in the pack" : "");
}

/// What the scores are not, a sentence each.
std::vector<std::string> notes_on(const ScoredSplit& scored) {
  std::vector<std::string> notes;
  const bool pack = is_pack(scored.dataset);
  if (pack && scored.at_label_size()) {
    notes.emplace_back("the labels of a pack have the size that it was packed at");
  }
  if (scored.scores.soft_iou) {
    notes.push_back(
        fmt::format("soft_iou_batch is a mean over batches of {}, of probabilities: it depends on "
                    "the batch, and "
                    "compares with what was published of the same batch alone",
                    scored.scores.soft_iou->batch()));
  }
  if (!is_of_cityscapes(scored.labels)) return notes;
  if (scored.labels.name == "categories8") {
    notes.emplace_back(
        "the mean over categories8 is not the official category score: it counts ids that the "
        "official evaluation ignores (parking, rail track, guard rail, bridge, tunnel, polegroup, "
        "caravan, trailer)");
  }
  if (scored.official) return notes;
  notes.emplace_back(pack
                         ? "the official Cityscapes scores need the ids of the masks, which a pack "
                           "does not keep: score the folder"
                         : "the official Cityscapes scores are taken at the labels' own size: add "
                           "--full or --tile");
  return notes;
}

std::optional<std::string> lack_of_classes(const ScoredSplit& scored) {
  const std::vector<ClassMetrics>& classes = scored.metrics.classes;
  const auto labeled = [](const ClassMetrics& c) { return c.label_pixels > 0; };
  const auto count = std::ranges::count_if(classes, labeled);
  if (count > 1) return std::nullopt;
  if (count == 0) return fmt::format("no pixel of the split {} is labelled", scored.split);
  const auto only = std::ranges::find_if(classes, labeled) - classes.begin();
  return fmt::format(
      "every labelled pixel of the split {} is \"{}\": the means say nothing of other classes",
      scored.split, scored.labels.class_names[to_size(only)]);
}

/// Masks of classes counted from 0 that are read as ids: no id is as large as labels have them.
std::optional<std::string> doubt_of_values(const ScoredSplit& scored) {
  if (scored.mask_values != "dataset" || !scored.scores.ids) return std::nullopt;
  const ConfusionMatrix& ids = *scored.scores.ids;
  int largest_label = 0, largest_found = 0;
  for (int label = 0; label < ids.classes(); ++label) {
    for (int found = 0; found < ids.classes(); ++found) {
      if (ids.at(label, found) == 0) continue;
      largest_label = std::max(largest_label, label);
      largest_found = std::max(largest_found, found);
    }
  }
  const int classes = scored.labels.classes();
  if (largest_found >= classes || largest_label < classes) return std::nullopt;
  return fmt::format(
      "the masks hold no id above {}, the labels ids up to {}: if the masks hold classes counted "
      "from 0, give --ids classes",
      largest_found, largest_label);
}

/// The score of that name, where there is one.
std::optional<double> find_score(const std::vector<CityscapesScores::Score>& scores,
                                 std::string_view name) {
  const auto found = std::ranges::find(scores, name, &CityscapesScores::Score::name);
  return found == scores.end() ? std::nullopt : std::optional(found->iou);
}

/// The means, and IoU of categories; with instance scores, of classes too, and iIoU beside IoU.
std::string official_table(const ScoredSplit& scored) {
  const CityscapesScores& official = *scored.official;
  const bool classes = scored.labels.name == "trainids19";
  std::string text;
  const auto line = [&](std::string_view name, std::string_view iou, std::string_view iiou) {
    text +=
        fmt::format("{:<48}{:>6}{}\n", name, iou, iiou.empty() ? "" : fmt::format("{:>8}", iiou));
  };
  const auto scores = [&](std::string_view name, double iou, std::optional<double> iiou) {
    line(name, score_text(iou), iiou ? score_text(*iiou) : "");
  };
  const auto list = [&](const std::vector<CityscapesScores::Score>& of_pixels,
                        const std::vector<CityscapesScores::Score>& of_instances) {
    for (const auto& [name, iou] : of_pixels) {
      scores("  " + name, iou, find_score(of_instances, name));
    }
  };
  const CityscapesInstanceScores instances = scored.instances.value_or(CityscapesInstanceScores{});
  const auto mean = [&](double iiou) {
    return scored.instances ? std::optional(iiou) : std::nullopt;
  };
  if (scored.instances) line("", "IoU", "iIoU");
  if (classes) {
    scores("official Cityscapes class IoU (19 classes)", official.class_iou,
           mean(instances.class_iou));
    if (scored.instances) list(official.classes, instances.classes);
  }
  scores("official Cityscapes category IoU (7 categories)", official.category_iou,
         mean(instances.category_iou));
  list(official.categories, instances.categories);
  return text;
}

Json official_json(const ScoredSplit& scored) {
  const CityscapesScores& official = *scored.official;
  const bool classes = scored.labels.name == "trainids19";
  const auto& instances = scored.instances;
  const auto list = [](const std::vector<CityscapesScores::Score>& scores,
                       const std::vector<CityscapesScores::Score>& of_instances) {
    Json entries = Json::array();
    for (const auto& [name, iou] : scores) {
      entries.push_back({{"name", name}, {"iou", json_number(iou)}});
      if (const auto iiou = find_score(of_instances, name)) {
        entries.back()["iiou"] = json_number(*iiou);
      }
    }
    return entries;
  };
  const std::vector<CityscapesScores::Score> none;
  Json json;
  if (classes) {
    json["cityscapes_class_iou"] = json_number(official.class_iou);
    if (instances) json["cityscapes_class_iiou"] = json_number(instances->class_iou);
    json["cityscapes_classes"] = list(official.classes, instances ? instances->classes : none);
  }
  json["cityscapes_category_iou"] = json_number(official.category_iou);
  if (instances) json["cityscapes_category_iiou"] = json_number(instances->category_iou);
  json["cityscapes_categories"] =
      list(official.categories, instances ? instances->categories : none);
  return json;
}

}  // namespace

std::vector<std::string> doubts_about(const ScoredSplit& scored) {
  std::vector<std::string> doubts;
  for (const auto& doubt : {lack_of_classes(scored), doubt_of_values(scored)}) {
    if (doubt) doubts.push_back(*doubt);
  }
  return doubts;
}

Json scores_json(const ScoredSplit& scored) {
  const auto size = [](int height, int width) {
    return height > 0 ? Json{{"width", width}, {"height", height}} : Json(nullptr);
  };
  const PhotoScores& scores = scored.scores;
  Json json = metrics_json(scored.metrics, scores.classes, scored.labels.class_names);
  if (scored.model) {
    const ModelInfo& info = scored.model->info;
    json["model"] = {
        {"path", scored.path}, {"network", info.network}, {"label_set", info.label_set}};
  } else {
    json["masks"] = {
        {"path", scored.path}, {"ids", scored.mask_values}, {"label_set", scored.labels.name}};
  }
  if (scores.boundaries) json["boundary_ratio"] = scores.boundaries->ratio();
  if (scores.soft_iou) json["soft_iou_batch_size"] = scores.soft_iou->batch();
  json["dataset"] = scored.dataset;
  json["split"] = scored.split;
  json["images"] = scored.images;
  json["size"] = size(scores.height, scores.width);
  if (scored.model) {
    const auto& [info, scoring, precision, device] = *scored.model;
    json["network_size"] = size(info.height, info.width);
    json["mode"] = {{"full", scoring.full},
                    {"tile", scoring.tile},
                    {"flip", scoring.flip},
                    {"scales", scoring.scales}};
    json["precision"] = precision;
    json["device"] = device;
  }
  if (scored.official) {
    json.update(official_json(scored));
  } else if (is_of_cityscapes(scored.labels)) {
    json["cityscapes_category_iou"] = nullptr;
  }
  json["notes"] = notes_on(scored);
  for (const std::string& doubt : doubts_about(scored)) json["notes"].push_back(doubt);
  return json;
}

void print_scores(const ScoredSplit& scored) {
  std::string official;
  if (scored.official) official = official_table(scored) + "\n";
  for (const auto& note : notes_on(scored)) official += "note: " + note + "\n\n";
  const std::string run =
      scored.model ? fmt::format(", {}, {}", scored.model->precision, scored.model->device) : "";
  const std::string seen = scored.model ? "photos seen " + describe_view(scored)
                           : scored.mask_values == "dataset"
                               ? std::string("masks hold the data set's own ids")
                               : std::string("masks hold classes counted from 0");
  print(
      "{} on {} ({}, {} images{})\n{}; masks scored at {}\n\n{}\n{}rows: labels, columns: "
      "predictions, per cent of the row\n{}",
      scored.path, scored.dataset, scored.split, scored.images, run, seen, describe_size(scored),
      Lines{metrics_table(scored.metrics, scored.labels.class_names)}, Lines{official},
      Lines{confusion_table(scored.scores.classes, scored.labels.class_names)});
}

}  // namespace macadam
