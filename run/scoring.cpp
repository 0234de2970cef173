#include "run/scoring.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "base/error.h"
#include "image/gray16.h"
#include "image/resize.h"
#include "loader/cityscapes_scores.h"
#include "loader/sample_reader.h"
#include "run/label_sets.h"

namespace macadam {

bool is_of_cityscapes(const LabelSet& labels) {
  return labels.name == "categories8" || labels.name == "trainids19";
}

namespace {

void count(std::span<const uint8_t> labels, std::span<const uint8_t> predictions,
           ConfusionMatrix& matrix) {
  for (size_t p = 0; p < labels.size(); ++p) {
    if (labels[p] >= matrix.classes()) continue;
    if (predictions[p] < matrix.classes()) {
      matrix.add(labels[p], predictions[p]);
    } else {
      matrix.add_unclassified(labels[p]);
    }
  }
}

/// Of a sample whose mask has its labels' size.
void count_instances(const Sample& sample, const FoundMask& mask, CityscapesInstances& counts) {
  const std::filesystem::path file = instance_file(sample);
  if (!std::filesystem::exists(file)) {
    throw InputError("no instances beside the labels", file.string(),
                     "add the *_gtFine_instanceIds.png, or leave --official out");
  }
  const Gray16 instances = read_gray16(file);
  if (instances.height != mask.height || instances.width != mask.width) {
    throw InputError(fmt::format("instances have {} x {} pixels, the labels {} x {}",
                                 instances.width, instances.height, mask.width, mask.height),
                     file.string(), "give both the same size");
  }
  counts.add(instances.pixels, mask.ids, file.string());
}

}  // namespace

Loader open_loader(const ModelInfo& info, Dataset dataset, LoaderOptions options,
                   Observer& observer) {
  const LabelSet labels = make_label_set(info, dataset.root);
  options.height = info.height;
  options.width = info.width;
  options.on_fault = [&observer](const std::string& fault) { observer.on_fault(fault); };
  return Loader(std::move(dataset), labels, options);
}

Evaluation score(LoadedModel& model, Loader& loader, DeviceContext& context, DType dtype,
                 const KeptSamples& keep, std::string_view work, Observer& observer) {
  const Graph graph =
      model.graph(loader.options().batch, loader.options().height, loader.options().width);
  EvaluatorOptions options;
  options.dtype = dtype;
  options.normalization = model.info().normalization;
  Evaluator evaluator = at_size_of(model.info(), model.file(), [&] {
    return Evaluator(graph, model.parameters(), context, options);
  });
  return *evaluate(evaluator, loader, keep, [&](int64_t done, int64_t total) {
    observer.on_progress(work, done, total);
    return true;
  });
}

PhotoScores score_masks(MaskSource& source, const Dataset& dataset, const LabelSet& label_set,
                        const MaskScoring& scoring, Observer& observer) {
  PhotoScores scores{.classes = ConfusionMatrix(label_set.classes())};
  if (scoring.boundary) scores.boundaries.emplace(label_set.classes(), *scoring.boundary);
  if (scoring.soft_batch > 0) scores.soft_iou.emplace(label_set.classes(), scoring.soft_batch);
  const bool ids = source.at_label_size() && is_of_cityscapes(label_set);
  const size_t photos = dataset.samples.size();
  FoundMask mask;
  for (size_t i = 0; i < photos; ++i) {
    const StoredSample sample(dataset.samples[i], dataset.masks, label_set);
    source.find(i, sample, mask);
    const Image& stored = sample.labels();
    const bool at_their_size = stored.height == mask.height && stored.width == mask.width;
    const Image labels = at_their_size ? stored : resize_nearest(stored, mask.height, mask.width);
    count(labels.pixels, mask.classes, scores.classes);
    if (scores.boundaries) {
      scores.boundaries->add(labels.pixels, mask.classes, mask.height, mask.width);
    }
    if (scores.soft_iou) scores.soft_iou->add(labels.pixels, mask.scores);
    if (ids && sample.ids().height > 0) {
      if (!scores.ids) scores.ids.emplace(kCityscapesIds);
      count(sample.ids().pixels, mask.ids, *scores.ids);
      if (scoring.instances) {
        if (!scores.instances) scores.instances.emplace();
        count_instances(dataset.samples[i], mask, *scores.instances);
      }
    }
    const bool same = i == 0 || (scores.height == labels.height && scores.width == labels.width);
    scores.height = same ? labels.height : 0;
    scores.width = same ? labels.width : 0;
    observer.on_progress("evaluating", static_cast<int64_t>(i) + 1, static_cast<int64_t>(photos));
  }
  return scores;
}

}  // namespace macadam
