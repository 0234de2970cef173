#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "app/console.h"
#include "app/run_folder.h"
#include "base/files.h"
#include "base/folder.h"
#include "base/version.h"
#include "engine/infer/evaluator.h"
#include "engine/plan/precision.h"
#include "engine/train/run_log.h"
#include "loader/loader_source.h"
#include "models/loaded_model.h"
#include "report/picture.h"
#include "report/report.h"
#include "report/sheet.h"

namespace macadam {

namespace {

constexpr int64_t kSamples = 6;

/// The first valid image of a batch with its truth and the network's mask.
ReportSample first_sample(const Batch& batch, const uint8_t* predictions, std::string name) {
  const Shape shape = batch.images.shape;
  ReportSample sample;
  sample.name = std::move(name);
  sample.photo = Image(shape.h, shape.w, 3);
  sample.truth = Image(shape.h, shape.w, 1);
  sample.prediction = Image(shape.h, shape.w, 1);
  const auto copy = [](const uint8_t* from, Image& to) {
    std::copy(from, from + to.pixels.size(), to.pixels.begin());
  };
  copy(batch.images.as<uint8_t>(), sample.photo);
  copy(batch.labels.as<uint8_t>(), sample.truth);
  copy(predictions, sample.prediction);
  return sample;
}

/// Where the picture of a sample goes; names of samples may hold folders.
std::filesystem::path sample_file(const std::filesystem::path& folder, std::string name) {
  std::ranges::replace(name, '/', '_');
  return folder / (name + ".png");
}

std::vector<ClassScore> class_scores(const LabelSet& labels, const SegmentationMetrics& metrics) {
  std::vector<ClassScore> scores;
  for (size_t c = 0; c < metrics.classes.size(); ++c) {
    const ClassMetrics& m = metrics.classes[c];
    scores.push_back({labels.class_names[c], labels.palette[c], m.iou, m.dice, m.label_pixels});
  }
  return scores;
}

}  // namespace

void write_run_report(const Config& config, Loader& val_loader, const DeviceInfo& device,
                      DType dtype) {
  const std::filesystem::path folder = run_folder(config);
  const LabelSet& labels = val_loader.labels();
  Stream stream(device.device);
  Ops ops = make_ops(stream);
  LoadedModel model(folder / "best.safetensors", stream);
  const Graph graph = model.graph(config.batch, config.height, config.width);
  EvaluatorOptions options;
  options.dtype = dtype;
  options.normalization = config.normalization;
  Evaluator evaluator(graph, model.parameters(), stream, ops, options);

  ReportData data;
  LoaderSource source(val_loader);
  source.start(0, 0);
  const int64_t batches = source.batches();
  const int64_t every = std::max<int64_t>(1, batches / kSamples);
  ProgressLine progress("scoring the best epoch");
  for (int64_t i = 0; i < batches; ++i) {
    const Batch& batch = source.next();
    evaluator.add(batch);
    if (i % every == 0 && static_cast<int64_t>(data.samples.size()) < kSamples) {
      const auto index = static_cast<size_t>(batch.samples[0]);
      data.samples.push_back(
          first_sample(batch, evaluator.predictions(), val_loader.dataset().samples[index].id));
    }
    progress.show(i + 1, batches);
  }
  const ConfusionMatrix confusion = evaluator.confusion();
  const SegmentationMetrics metrics = compute_metrics(confusion, config.absent);

  data.title = config.name;
  data.network = config.network;
  for (const auto& [key, value] : config.network_options) {
    data.network += fmt::format(", {} {}", key, value);
  }
  data.dataset = config.dataset.train;
  data.label_set = labels.name + (labels.void_is_class ? ", void is a class" : ", void is ignored");
  data.device = fmt::format("{} ({})", device.device.name(), device.name);
  data.precision = precision_name(dtype);
  data.version = version();
  data.height = config.height;
  data.width = config.width;
  data.batch = config.batch;
  data.parameters = static_cast<uint64_t>(graph.parameter_count());
  data.best_epoch = static_cast<int>(model.info().epoch);
  data.scores = metrics.scores;
  data.history = read_results(folder / "results.csv");
  for (const EpochRecord& record : data.history) data.seconds += record.seconds;
  data.classes = class_scores(labels, metrics);
  data.confusion.assign(confusion.counts().begin(), confusion.counts().end());
  data.config = to_toml(config);

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
  write_file_atomically(folder / "curves.svg", curves_svg(data.history, data.best_epoch));
  write_file_atomically(folder / "confusion.svg", confusion_svg(data.classes, data.confusion));
  write_file_atomically(folder / "report.html", report_html(data));
}

}  // namespace macadam
