#include "run/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "base/folder.h"
#include "base/json_text.h"
#include "base/to_size.h"
#include "base/version.h"
#include "engine/plan/precision.h"
#include "engine/train/run_log.h"
#include "report/picture.h"
#include "report/report.h"
#include "report/sheet.h"
#include "run/run_folder.h"

namespace macadam {

namespace {

/// Where the picture of a sample goes; names of samples may hold folders.
std::filesystem::path sample_file(const std::filesystem::path& folder, std::string name) {
  std::ranges::replace(name, '/', '_');
  return folder / (name + ".png");
}

}  // namespace

ReportSample report_sample(const EvaluatedSample& sample, std::string name) {
  const auto image = [&](int channels, const std::vector<uint8_t>& bytes) {
    Image result(sample.height, sample.width, channels);
    std::ranges::copy(bytes, result.pixels.begin());
    return result;
  };
  return {std::move(name), image(3, sample.rgb), image(1, sample.labels), image(1, sample.classes),
          sample.iou};
}

std::vector<ClassScore> class_scores(const LabelSet& labels, const SegmentationMetrics& metrics) {
  std::vector<ClassScore> scores;
  for (size_t c = 0; c < metrics.classes.size(); ++c) {
    const ClassMetrics& m = metrics.classes[c];
    scores.push_back({labels.class_names[c], labels.palette[c], m.iou, m.dice, m.label_pixels,
                      m.precision, m.recall});
  }
  return scores;
}

void write_run_report(const Config& config, const Loader& val_loader, const RunSummary& run,
                      const Evaluation& best) {
  const std::filesystem::path folder = run_folder(config);
  const LabelSet& labels = val_loader.labels();
  const SegmentationMetrics metrics = compute_metrics(best.confusion, config.absent);
  ReportData data;
  const auto take = [&](const std::vector<EvaluatedSample>& from, std::vector<ReportSample>& into) {
    for (const EvaluatedSample& sample : from) {
      const auto index = to_size(sample.sample);
      into.push_back(report_sample(sample, val_loader.dataset().samples[index].id));
    }
  };
  take(best.samples, data.samples);
  take(best.worst, data.worst);
  take(best.best, data.best);
  data.title = config.name;
  data.network = config.network;
  for (const auto& [key, value] : config.network_options) {
    data.network += fmt::format(", {} {}", key, value);
  }
  data.dataset = config.dataset.train;
  data.label_set = labels.name + (labels.void_is_class ? ", void is a class" : ", void is ignored");
  data.device = fmt::format("{} ({})", run.device.device.name(), run.device.name);
  data.precision = precision_name(run.dtype);
  data.version = version();
  data.height = config.height;
  data.width = config.width;
  data.batch = config.batch;
  data.parameters = run.parameters;
  data.step_bytes = run.step_bytes;
  data.parameter_bytes = run.parameter_bytes;
  data.command = fmt::format(
      "macadam train config.toml name=again    # in the run's folder, with {}", version());
  data.best_epoch = static_cast<int>(run.best_epoch);
  data.scores = metrics.scores;
  data.history = read_results(folder / "results.csv");
  for (const EpochRecord& record : data.history) data.seconds += record.seconds;
  data.classes = class_scores(labels, metrics);
  data.absent = config.absent;
  data.confusion.assign(best.confusion.counts().begin(), best.confusion.counts().end());
  data.config = to_toml(config);
  if (!run.class_weights.empty()) {
    data.config +=
        fmt::format("\n# class_weights came to [{:.4g}]\n", fmt::join(run.class_weights, ", "));
  }

  std::filesystem::create_directories(folder / "samples");
  mark_predictions(folder / "samples");  // runs may lie in a folder of photos
  std::set<std::filesystem::path> taken;
  for (const ReportSample& sample : data.samples) {
    std::filesystem::path file = sample_file(folder / "samples", sample.name);
    if (!name_fits(file) || taken.contains(file)) {
      file = folder / "samples" / fmt::format("sample_{}.png", taken.size());
    }
    taken.insert(file);
    write_png(file, sample_sheet(sample, data.classes));
  }
  nlohmann::ordered_json scores = metrics_json(metrics, best.confusion, labels.class_names);
  scores["epoch"] = run.best_epoch;
  scores["device"] = data.device;
  scores["precision"] = data.precision;
  write_file_atomically(folder / "scores.json", json_text(scores) + "\n");
  write_file_atomically(folder / "curves.svg", curves_svg(data.history, data.best_epoch));
  write_file_atomically(folder / "confusion.svg", confusion_svg(data.classes, data.confusion));
  write_file_atomically(folder / "report.html", report_html(data));
}

}  // namespace macadam
