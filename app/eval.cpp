// macadam eval: scores of a model on a data set.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "app/console_observer.h"
#include "base/json_text.h"
#include "base/to_size.h"
#include "engine/plan/precision.h"
#include "loader/cityscapes_scores.h"
#include "loader/pack.h"
#include "models/loaded_model.h"
#include "run/label_sets.h"
#include "run/scoring.h"

namespace macadam {

namespace {

using Json = nlohmann::ordered_json;

struct EvalOptions {
  std::string model, dataset;
  std::string split = "val";
  std::string device = "auto", precision = "auto", absent = "drop";
  std::optional<std::string> scales;
  std::optional<int> batch, threads;
  PhotoScoring scoring;
  bool json = false;
};

/// What was scored, and how; the scores.
struct Result {
  PhotoScoring scoring;
  LabelSet labels;
  std::string precision, device;
  size_t images = 0;
  PhotoScores scores;
  std::optional<CityscapesScores> official;
};

AbsentRule parse_absent(const std::string& text) {
  if (text == "drop") return AbsentRule::drop;
  if (text == "one") return AbsentRule::one;
  if (text == "zero") return AbsentRule::zero;
  throw InputError(fmt::format("'{}' is not a rule for absent classes", text), "--absent",
                   "use drop, one or zero");
}

/// "0.75,1,1.25".
std::vector<double> parse_scales(const std::string& text) {
  constexpr double kLeast = 0.1, kMost = 4;
  std::vector<double> scales;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    double scale = 0;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, scale);
    if (error != std::errc() || stop != text.data() + end || !(scale >= kLeast && scale <= kMost) ||
        std::ranges::find(scales, scale) != scales.end()) {
      throw InputError(
          fmt::format("'{}' is not a list of scales", text), "--scales",
          fmt::format("use numbers from {} to {}, each once, with commas between them: "
                      "0.75,1,1.25",
                      kLeast, kMost));
    }
    scales.push_back(scale);
    begin = end + 1;
  }
  return scales;
}

PhotoScoring scoring_of(const EvalOptions& options) {
  PhotoScoring scoring = options.scoring;
  if (options.scales) scoring.scales = parse_scales(*options.scales);
  if (options.batch && (*options.batch < 1 || *options.batch > 1024)) {
    throw InputError(fmt::format("a batch of {}", *options.batch), "--batch", "use 1 to 1024");
  }
  if (options.threads && *options.threads < 0) {
    throw InputError(fmt::format("{} threads", *options.threads), "--threads", "use 0 or more");
  }
  if (scoring.full && scoring.tile) {
    throw InputError("both say what the network sees of a photo: all of it, or windows of it",
                     "--full, --tile", "leave one out; both score at the labels' size");
  }
  if (scoring.plain()) return scoring;
  for (const auto& [name, given] :
       {std::pair{"--batch", options.batch}, std::pair{"--threads", options.threads}}) {
    if (!given) continue;
    throw InputError("has no effect with --full, --tile, --flip and --scales", name,
                     "leave it out: photos are scored one by one, with all cores");
  }
  return scoring;
}

Result score(const EvalOptions& options, const PhotoScoring& scoring, LoadedModel& model,
             DeviceContext& context, const DeviceInfo& device) {
  constexpr int kBatch = 4;
  const DType dtype = resolve_precision(options.precision, device);
  Dataset dataset = open_dataset(options.dataset, options.split);
  const size_t images = dataset.samples.size();
  ConsoleObserver observer;
  Result result{
      scoring,
      make_label_set(model.info(), dataset.root),
      std::string(precision_name(dtype)),
      device.device.name(),
      images,
      {ConfusionMatrix(model.classes()), std::nullopt, model.info().height, model.info().width},
      std::nullopt};
  if (scoring.plain()) {
    LoaderOptions loading;
    loading.batch = options.batch.value_or(kBatch);
    loading.threads = options.threads.value_or(0);
    loading.device = device.device;
    Loader loader = open_loader(model.info(), std::move(dataset), loading, observer);
    result.scores.classes =
        score(model, loader, context, dtype, 0, "evaluating", observer).confusion;
  } else {
    result.scores = score_photos(model, dataset, result.labels, scoring, context, dtype, observer);
  }
  if (result.scores.ids) result.official = cityscapes_scores(*result.scores.ids);
  return result;
}

/// "whole at 512x256, also mirrored": what the network was shown.
std::string describe_view(const PhotoScoring& scoring, const ModelInfo& info) {
  std::string text =
      fmt::format("{} {}x{}", scoring.tile ? "in windows of" : "whole at", info.width, info.height);
  if (scoring.scales != std::vector<double>{1.0}) {
    text += fmt::format(" at scales {:g}", fmt::join(scoring.scales, ", "));
  }
  return scoring.flip ? text + ", also mirrored" : text;
}

std::string describe_size(const EvalOptions& options, const Result& evaluation) {
  const PhotoScores& scores = evaluation.scores;
  std::string size = scores.height > 0 ? fmt::format("{}x{}", scores.width, scores.height)
                                       : std::string("each its own");
  if (!evaluation.scoring.at_label_size()) return size;
  return fmt::format("{}, the size of the labels{}", size,
                     is_pack(options.dataset) ? " in the pack" : "");
}

/// What the scores are not, a sentence each.
std::vector<std::string> notes_on(const EvalOptions& options, const Result& evaluation) {
  std::vector<std::string> notes;
  const bool pack = is_pack(options.dataset);
  if (pack && evaluation.scoring.at_label_size()) {
    notes.emplace_back("the labels of a pack have the size that it was packed at");
  }
  if (!is_of_cityscapes(evaluation.labels)) return notes;
  if (evaluation.labels.name == "categories8") {
    notes.emplace_back(
        "the mean over categories8 is not the official category score: it counts ids that the "
        "official evaluation ignores (parking, rail track, guard rail, bridge, tunnel, polegroup, "
        "caravan, trailer)");
  }
  if (evaluation.official) return notes;
  notes.emplace_back(pack
                         ? "the official Cityscapes scores need the ids of the masks, which a pack "
                           "does not keep: score the folder"
                         : "the official Cityscapes scores are taken at the labels' own size: add "
                           "--full or --tile");
  return notes;
}

/// What is to be known before a score is read: labels of one class, or of none.
std::optional<std::string> lack_of_classes(const EvalOptions& options, const ModelInfo& info,
                                           const SegmentationMetrics& metrics) {
  const auto labeled = [](const ClassMetrics& c) { return c.label_pixels > 0; };
  const auto count = std::ranges::count_if(metrics.classes, labeled);
  if (count > 1) return std::nullopt;
  if (count == 0) return fmt::format("no pixel of the split {} is labelled", options.split);
  const auto only = std::ranges::find_if(metrics.classes, labeled) - metrics.classes.begin();
  return fmt::format(
      "every labelled pixel of the split {} is \"{}\": the means say nothing of other classes",
      options.split, info.class_names[to_size(only)]);
}

std::string official_table(const CityscapesScores& official, bool classes) {
  std::string text;
  const auto line = [&](std::string_view name, double iou) {
    text += fmt::format("{:<48}{:>6}\n", name,
                        std::isnan(iou) ? std::string("-") : fmt::format("{:.4f}", iou));
  };
  if (classes) line("official Cityscapes class IoU (19 classes)", official.class_iou);
  line("official Cityscapes category IoU (7 categories)", official.category_iou);
  for (const auto& [name, iou] : official.categories) line("  " + name, iou);
  return text;
}

Json official_json(const CityscapesScores& official, bool classes) {
  const auto list = [](const std::vector<CityscapesScores::Score>& scores) {
    Json entries = Json::array();
    for (const auto& [name, iou] : scores) {
      entries.push_back({{"name", name}, {"iou", json_number(iou)}});
    }
    return entries;
  };
  Json json;
  if (classes) {
    json["cityscapes_class_iou"] = json_number(official.class_iou);
    json["cityscapes_classes"] = list(official.classes);
  }
  json["cityscapes_category_iou"] = json_number(official.category_iou);
  json["cityscapes_categories"] = list(official.categories);
  return json;
}

Json evaluation_json(const EvalOptions& options, const ModelInfo& info, const Result& evaluation,
                     const SegmentationMetrics& metrics) {
  const auto size = [](int height, int width) {
    return height > 0 ? Json{{"width", width}, {"height", height}} : Json(nullptr);
  };
  const PhotoScoring& scoring = evaluation.scoring;
  const PhotoScores& scores = evaluation.scores;
  Json json = metrics_json(metrics, scores.classes, info.class_names);
  json["model"] = {
      {"path", options.model}, {"network", info.network}, {"label_set", info.label_set}};
  json["dataset"] = options.dataset;
  json["split"] = options.split;
  json["images"] = evaluation.images;
  json["size"] = size(scores.height, scores.width);
  json["network_size"] = size(info.height, info.width);
  json["mode"] = {{"full", scoring.full},
                  {"tile", scoring.tile},
                  {"flip", scoring.flip},
                  {"scales", scoring.scales}};
  json["precision"] = evaluation.precision;
  json["device"] = evaluation.device;
  if (evaluation.official) {
    json.update(official_json(*evaluation.official, evaluation.labels.name == "trainids19"));
  } else if (is_of_cityscapes(evaluation.labels)) {
    json["cityscapes_category_iou"] = nullptr;
  }
  json["notes"] = notes_on(options, evaluation);
  if (const auto lack = lack_of_classes(options, info, metrics)) json["notes"].push_back(*lack);
  return json;
}

void print_tables(const EvalOptions& options, const ModelInfo& info, const Result& evaluation,
                  const SegmentationMetrics& metrics) {
  std::string official;
  if (evaluation.official) {
    official = official_table(*evaluation.official, evaluation.labels.name == "trainids19") + "\n";
  }
  for (const auto& note : notes_on(options, evaluation)) {
    official += "note: " + note + "\n\n";
  }
  print(
      "{} on {} ({}, {} images, {}, {})\nphotos seen {}; masks scored at {}\n\n{}\n{}rows: "
      "labels, columns: predictions, per cent of the row\n{}",
      options.model, options.dataset, options.split, evaluation.images, evaluation.precision,
      evaluation.device, describe_view(evaluation.scoring, info),
      describe_size(options, evaluation), Lines{metrics_table(metrics, info.class_names)},
      Lines{official}, Lines{confusion_table(evaluation.scores.classes, info.class_names)});
}

void eval(const EvalOptions& options) {
  const AbsentRule absent = parse_absent(options.absent);
  const PhotoScoring scoring = scoring_of(options);
  const DeviceInfo device = device_info(parse_device(options.device));
  DeviceContext context(device.device);
  LoadedModel model(options.model, context.stream);
  const Result evaluation = at_size_of(
      model.info(), model.file(), [&] { return score(options, scoring, model, context, device); });
  const SegmentationMetrics metrics = compute_metrics(evaluation.scores.classes, absent);
  if (const auto lack = lack_of_classes(options, model.info(), metrics)) {
    warn(*lack);
  }
  if (options.json) {
    const std::string text = json_text(evaluation_json(options, model.info(), evaluation, metrics));
    print("{}\n", Lines{text});
  } else {
    print_tables(options, model.info(), evaluation, metrics);
  }
}

}  // namespace

void add_eval(CommandLine& line) {
  Command command = line.add("eval", "Score a model: IoU and Dice, confusion matrix");
  auto options = std::make_shared<EvalOptions>();
  command.option("model", &options->model, "Model file").required();
  command.option("dataset", &options->dataset, "Data set: a folder or a pack").required();
  command.option("--split", &options->split, "Which part of it").show_default();
  command
      .option("--absent", &options->absent,
              "What a class counts that occurs nowhere: drop (left out of the mean), one, "
              "zero")
      .show_default();
  command.flag("--full", options->scoring.full,
               "Score at the labels' own size: scores are up-sampled to it");
  command.flag("--tile", options->scoring.tile,
               "Score there too, and keep the photos' resolution: overlapping windows, "
               "blended");
  command.flag("--flip", options->scoring.flip, "Average with the mirror image (twice the time)");
  command.option("--scales", &options->scales,
                 "Average over scales of what the network sees: 0.75,1,1.25");
  command.option("--batch", &options->batch, "Images at once (4)");
  command.option("--threads", &options->threads, "Decoding threads, 0 = all cores (0)");
  command.option("--device", &options->device, "auto, cpu, cuda or cuda:N").show_default();
  command.option("--precision", &options->precision, "auto, fp32, bf16 or fp16").show_default();
  command.flag("--json", options->json, "One JSON object on stdout");
  command.run([options] { eval(*options); });
}

}  // namespace macadam
