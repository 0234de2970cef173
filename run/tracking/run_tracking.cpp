#include "run/tracking/run_tracking.h"

#include <fmt/format.h>

#include "base/to_size.h"
#include "base/toml.h"
#include "engine/train/run_log.h"
#include "report/picture.h"
#include "report/report.h"
#include "report/sheet.h"
#include "run/run_report.h"
#include "run/tracking/mlflow.h"
#include "run/tracking/tensorboard.h"

namespace macadam {

namespace {

std::vector<TrackedParameter> parameters_of(const Config& config) {
  std::vector<TrackedParameter> parameters;
  for (const DescribedField& field : fields_of(config)) {
    if (!field.field.notes.effect.holds) continue;
    std::string text = toml_text(field.value);
    if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
      text = text.substr(1, text.size() - 2);
    }
    parameters.push_back({std::string(field.field.key), std::move(text)});
  }
  return parameters;
}

}  // namespace

void RunTracking::begin(const Config& config, const std::filesystem::path& folder, bool resumed,
                        int64_t epoch, int64_t steps, Observer& notices) {
  const std::vector<TrackedParameter> parameters = parameters_of(config);
  const auto notice = [&notices](const std::string& line) { notices.on_notice(line); };
  if (config.tensorboard) {
    trackers_.push_back(
        make_tensorboard({.folder = folder,
                          .epoch = epoch,
                          .steps = steps,
                          .score = fmt::format("miou_{}", suffix_of(config.absent))},
                         parameters, notice));
  }
  if (!config.mlflow.empty()) {
    trackers_.push_back(
        make_mlflow({config.mlflow, config.mlflow_experiment, config.name, folder, resumed},
                    parameters, notice));
  }
  // A process that died behind a checkpoint may not have told of the epoch that it holds; and it
  // may have left half a line, which goes as the log is opened.
  if (trackers_.empty()) return;
  { const RunLog log(folder, epoch, steps); }
  for (const EpochRecord& record : read_results(folder / "results.csv")) {
    if (record.epoch > epoch) break;
    for (const auto& tracker : trackers_) {
      if (record.epoch > tracker->known_epoch()) tracker->epoch(record);
    }
  }
}

void RunTracking::evaluated(const EpochRecord& record, const Evaluation& evaluation,
                            const Loader& val) {
  if (trackers_.empty()) return;
  const LabelSet& labels = val.labels();
  const SegmentationMetrics metrics = compute_metrics(evaluation.confusion, AbsentRule::drop);
  ious_.clear();
  for (size_t c = 0; c < metrics.classes.size(); ++c) {
    ious_.push_back({labels.class_names[c], metrics.classes[c].iou});
  }
  pictures_.clear();
  if (!record.best) return;
  const std::vector<ClassScore> classes = class_scores(labels, metrics);
  for (const EvaluatedSample& sample : evaluation.samples) {
    const std::string& name = val.dataset().samples[to_size(sample.sample)].id;
    pictures_.push_back({name, sample_sheet(report_sample(sample, name), classes)});
  }
  pictures_.push_back(
      {"confusion matrix", confusion_picture(classes, evaluation.confusion.counts())});
}

void RunTracking::on_update(const Update& update) {
  for (const auto& tracker : trackers_) tracker->update(update.step, update.loss, update.lr);
  next_.on_update(update);
}

void RunTracking::on_epoch(const EpochRecord& record) {
  for (const auto& tracker : trackers_) {
    tracker->epoch(record);
    tracker->classes(record.epoch, ious_);
    if (record.best) tracker->pictures(record.epoch, pictures_);
  }
  next_.on_epoch(record);
}

void RunTracking::on_recovery(const Recovery& recovery) {
  for (const auto& tracker : trackers_) tracker->recover(recovery.epoch, recovery.step);
  next_.on_recovery(recovery);
}

void RunTracking::fail() {
  for (const auto& tracker : trackers_) tracker->fail();
}

void RunTracking::end(TrainingEnd end) {
  for (const auto& tracker : trackers_) tracker->end(end);
}

}  // namespace macadam
