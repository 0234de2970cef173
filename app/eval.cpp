// macadam eval: scores of a model, or of masks that any tool wrote, on a data set.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "app/console_observer.h"
#include "app/eval_report.h"
#include "base/error.h"
#include "base/json_text.h"
#include "engine/infer/boundary.h"
#include "engine/plan/precision.h"
#include "loader/cityscapes_instances.h"
#include "loader/cityscapes_scores.h"
#include "loader/pack.h"
#include "models/loaded_model.h"
#include "run/label_sets.h"
#include "run/scoring.h"

namespace macadam {

namespace {

constexpr int kBatch = 4;

struct EvalOptions {
  std::string subject, dataset;  // a model file or a folder of masks
  std::string split = "val";
  std::string device = "auto", precision = "auto", absent = "drop";
  std::string label_set{kAutoLabelSet}, void_policy = "auto", ids = "dataset";
  std::optional<std::string> scales;
  std::optional<int> batch, threads;
  std::optional<std::string> boundary;
  PhotoScoring scoring;
  bool official = false, origin = false, json = false;
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

/// The official scores need Cityscapes' ids; to leave them out in silence would not be official.
void check_official(const EvalOptions& options, const LabelSet& labels) {
  if (!options.official) return;
  if (is_pack(options.dataset)) {
    throw InputError(
        "the official scores need the ids of masks and instances, which a pack does "
        "not keep",
        options.dataset, "score the folder");
  }
  if (is_of_cityscapes(labels)) return;
  throw InputError(
      fmt::format("the official scores are of Cityscapes' ids, not of {}", labels.name),
      options.dataset, "leave --official out");
}

/// The origin's scores are of its eight classes, as a network saw them.
void check_origin(const EvalOptions& options, const LabelSet& labels) {
  if (!options.origin || (labels.name == "categories8" && labels.void_is_class)) return;
  throw InputError(
      fmt::format(
          "the origin's scores are of categories8 with void as a class, the model's classes "
          "are {} with void {}",
          labels.name, labels.void_is_class ? "as a class" : "ignored"),
      "--origin", "leave it out");
}

PhotoScores scores_in_batches(const EvalOptions& options, LoadedModel& model, Dataset dataset,
                              DeviceContext& context, DType dtype, Observer& observer) {
  LoaderOptions loading;
  loading.batch = options.batch.value_or(kBatch);
  loading.threads = options.threads.value_or(0);
  loading.device = context.device();
  Loader loader = open_loader(model.info(), std::move(dataset), loading, observer);
  return {.classes = score(model, loader, context, dtype, {}, "evaluating", observer).confusion,
          .height = model.info().height,
          .width = model.info().width};
}

ScoredSplit score_model(const EvalOptions& options, const PhotoScoring& scoring,
                        const MaskScoring& counted, LoadedModel& model, DeviceContext& context,
                        const DeviceInfo& device) {
  const DType dtype = resolve_precision(options.precision, device);
  Dataset dataset = open_dataset(options.dataset, options.split);
  const size_t images = dataset.samples.size();
  const LabelSet labels = make_label_set(model.info(), dataset.root);
  check_official(options, labels);
  check_origin(options, labels);
  ConsoleObserver observer;
  PhotoScores scores =
      scoring.plain() && !options.origin
          ? scores_in_batches(options, model, std::move(dataset), context, dtype, observer)
          : score_masks(*masks_of_model(model, scoring, options.origin, context, dtype, observer),
                        dataset, labels, counted, observer);
  return {.path = options.subject,
          .dataset = options.dataset,
          .split = options.split,
          .images = images,
          .labels = labels,
          .model = ScoredModel{model.info(), scoring, std::string(precision_name(dtype)),
                               device.device.name()},
          .mask_values = "",
          .scores = std::move(scores)};
}

ScoredSplit score_folder(const EvalOptions& options, const MaskScoring& counted) {
  const MaskValues values = parse_mask_values(options.ids);
  const Dataset dataset = open_dataset(options.dataset, options.split);
  const bool evaluated = options.official && options.label_set == kAutoLabelSet &&
                         !is_pack(dataset.root) &&
                         recognize_ids(dataset.root) == IdSpace::cityscapes;
  const LabelSet labels = make_label_set(evaluated ? "trainids19" : options.label_set,
                                         parse_void_policy(options.void_policy), dataset.root);
  check_official(options, labels);
  ConsoleObserver observer;
  PhotoScores scores =
      score_masks(*masks_of_folder(MaskFolder(options.subject, dataset, labels, values)), dataset,
                  labels, counted, observer);
  return {.path = options.subject,
          .dataset = options.dataset,
          .split = options.split,
          .images = dataset.samples.size(),
          .labels = labels,
          .model = std::nullopt,
          .mask_values = options.ids,
          .scores = std::move(scores)};
}

/// "0.02".
double parse_boundary(const std::string& text) {
  double ratio = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), ratio);
  if (error == std::errc() && stop == text.data() + text.size() && ratio > 0 && ratio <= 1) {
    return ratio;
  }
  throw InputError(
      fmt::format("'{}' is no width of a boundary", text), "--boundary",
      fmt::format("use a share of the diagonal above 0, at most 1: {}", kBoundaryRatio));
}

/// What is counted besides pixels.
MaskScoring counted_of(const EvalOptions& options) {
  MaskScoring counted;
  if (options.boundary) counted.boundary = parse_boundary(*options.boundary);
  counted.instances = options.official;
  if (options.origin) counted.soft_batch = options.batch.value_or(kBatch);
  return counted;
}

/// Throws InputError when what is counted is not there the way that a model sees photos.
void check_modes(const MaskScoring& counted, const PhotoScoring& scoring, const Command& command) {
  if (counted.soft_batch > 0) {
    command.refuse(
        {"--full", "--tile", "--flip", "--scales", "--threads", "--boundary", "--official"},
        "the origin's scores, taken at the network's size");
    return;
  }
  if (scoring.at_label_size()) return;
  if (counted.instances) {
    throw InputError("the official scores are taken at the labels' own size", "--official",
                     "add --full or --tile");
  }
  if (counted.boundary) {
    throw InputError("boundaries are compared at the labels' own size", "--boundary",
                     "add --full or --tile");
  }
}

void show(const EvalOptions& options, AbsentRule absent, ScoredSplit scored) {
  scored.metrics = compute_metrics(scored.scores.classes, absent);
  if (scored.scores.soft_iou) {
    const double present =
        compute_metrics(scored.scores.classes, AbsentRule::drop).mean_iou().value;
    scored.metrics.scores.push_back({"miou8_with_void", present});
    scored.metrics.scores.push_back({"soft_iou_batch", scored.scores.soft_iou->value()});
  }
  if (scored.scores.boundaries) add_boundary_scores(*scored.scores.boundaries, scored.metrics);
  if (scored.scores.ids) scored.official = cityscapes_scores(*scored.scores.ids);
  if (scored.scores.instances) {
    scored.instances = instance_scores(*scored.scores.ids, *scored.scores.instances);
  }
  for (const std::string& doubt : doubts_about(scored)) warn(doubt);
  if (options.json) {
    const std::string text = json_text(scores_json(scored));
    print("{}\n", Lines{text});
  } else {
    print_scores(scored);
  }
}

void eval(const Command& command, const EvalOptions& options) {
  const AbsentRule absent = parse_absent(options.absent);
  const MaskScoring counted = counted_of(options);
  if (std::filesystem::is_directory(options.subject)) {
    command.refuse({"--full", "--tile", "--flip", "--scales", "--batch", "--threads", "--device",
                    "--precision", "--origin"},
                   "a folder of masks");
    return show(options, absent, score_folder(options, counted));
  }
  command.refuse({"--label-set", "--void", "--ids"}, "a model, which has its own classes");
  const PhotoScoring scoring = scoring_of(options);
  check_modes(counted, scoring, command);
  const DeviceInfo device = device_info(parse_device(options.device));
  DeviceContext context(device.device);
  LoadedModel model(options.subject, context.stream);
  show(options, absent, at_size_of(model.info(), model.file(), [&] {
         return score_model(options, scoring, counted, model, context, device);
       }));
}

}  // namespace

void add_eval(CommandLine& line) {
  Command command =
      line.add("eval", "Score a model, or masks of any tool: IoU and Dice, confusion matrix");
  auto options = std::make_shared<EvalOptions>();
  command.option("model", &options->subject, "Model file, or a folder of predicted masks (PNG)")
      .required();
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
  command
      .option("--boundary", &options->boundary,
              "Also boundary IoU, of pixels this near to an outline: a share of the diagonal "
              "(0.02); with --full, --tile or masks")
      .optional_value(fmt::format("{}", kBoundaryRatio));
  command.flag("--official", options->official,
               "Cityscapes' official scores with those of instances; what they need and is not "
               "there is an error; with --full, --tile or masks");
  command.flag(
      "--origin", options->origin,
      "Also the scores that image-segmentation-keras and segmentation_models publish, of a "
      "model of categories8 with void; of batches of --batch");
  command.option("--batch", &options->batch, "Images at once (4)");
  command.option("--threads", &options->threads, "Decoding threads, 0 = all cores (0)");
  command.option("--device", &options->device, "auto, cpu, cuda or cuda:N").show_default();
  command.option("--precision", &options->precision, "auto, fp32, bf16 or fp16").show_default();
  command
      .option("--label-set", &options->label_set,
              "Of a folder of masks: categories8, trainids19, camvid11, custom, or auto: the data "
              "set's own")
      .show_default();
  command
      .option("--void", &options->void_policy,
              "Of a folder of masks: ignore, class, or auto: as usual for the label set")
      .show_default();
  command
      .option("--ids", &options->ids,
              "What a folder's masks hold: dataset (its own ids) or classes (counted from 0)")
      .show_default();
  command.flag("--json", options->json, "One JSON object on stdout");
  command.run([command, options] { eval(command, *options); });
}

}  // namespace macadam
