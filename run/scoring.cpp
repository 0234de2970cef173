#include "run/scoring.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/to_size.h"
#include "engine/infer/predictor.h"
#include "image/resize.h"
#include "loader/cityscapes_scores.h"
#include "loader/sample_reader.h"
#include "run/label_sets.h"

namespace macadam {

bool is_of_cityscapes(const LabelSet& labels) {
  return labels.name == "categories8" || labels.name == "trainids19";
}

namespace {

int scaled(double scale, int extent) {
  return std::max(1, static_cast<int>(std::lround(scale * extent)));
}

/// The network at every scale of its size; with windows, at its size alone, for one and for as many
/// as it should see at once.
std::vector<Graph> graphs_of(const LoadedModel& model, const PhotoScoring& scoring, Device device) {
  const int height = model.info().height, width = model.info().width;
  std::vector<Graph> graphs;
  if (scoring.tile) {
    graphs.push_back(model.graph(1, height, width));
    const int windows = windows_at_once(device, height, width);
    if (windows > 1) graphs.push_back(model.graph(windows, height, width));
    return graphs;
  }
  for (const double scale : scoring.scales) {
    const Shape size = scale == 1 ? Shape{1, height, width, 3}
                                  : model.fitting(scaled(scale, height), scaled(scale, width));
    for (const Graph& graph : graphs) {
      const Shape& other = graph.shape(graph.output());
      if (other.h == size.h && other.w == size.w) {
        throw InputError(fmt::format("two scales show the network {}x{} pixels", size.w, size.h),
                         "--scales", "choose scales that lie further apart");
      }
    }
    graphs.push_back(model.graph(1, size.h, size.w));
  }
  return graphs;
}

/// What the predictor is shown of a photo: it at every scale. `fault`: as in DecodeOptions.
std::vector<Image> views_of(const StoredSample& sample, const std::vector<Graph>& graphs,
                            const PhotoScoring& scoring, std::string* fault) {
  if (scoring.tile) {
    std::vector<Image> views;
    const Image& labels = sample.labels();
    const ImageSize whole{labels.height, labels.width};
    const Image photo = std::move(sample.photos_at({&whole, 1}, fault).front());
    for (const double scale : scoring.scales) {
      views.push_back(scale == 1 ? photo
                                 : resize_bilinear(photo, scaled(scale, photo.height),
                                                   scaled(scale, photo.width)));
    }
    return views;
  }
  std::vector<ImageSize> sizes;
  for (const Graph& graph : graphs) {
    const Shape& size = graph.shape(graph.output());
    sizes.push_back({size.h, size.w});
  }
  return sample.photos_at(sizes, fault);
}

void count(std::span<const uint8_t> labels, std::span<const uint8_t> predictions,
           ConfusionMatrix& matrix) {
  for (size_t p = 0; p < labels.size(); ++p) {
    if (labels[p] < matrix.classes()) matrix.add(labels[p], predictions[p]);
  }
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
                 int64_t samples, std::string_view work, Observer& observer) {
  const Graph graph =
      model.graph(loader.options().batch, loader.options().height, loader.options().width);
  EvaluatorOptions options;
  options.dtype = dtype;
  options.normalization = model.info().normalization;
  Evaluator evaluator = at_size_of(model.info(), model.file(), [&] {
    return Evaluator(graph, model.parameters(), context, options);
  });
  return *evaluate(evaluator, loader, samples, [&](int64_t done, int64_t total) {
    observer.on_progress(work, done, total);
    return true;
  });
}

PhotoScores score_photos(LoadedModel& model, const Dataset& dataset, const LabelSet& label_set,
                         const PhotoScoring& scoring, DeviceContext& context, DType dtype,
                         Observer& observer) {
  const ModelInfo& info = model.info();
  const std::vector<Graph> graphs = graphs_of(model, scoring, context.device());
  Predictor predictor(graphs, model.parameters(), context,
                      {dtype, info.normalization, scoring.flip});
  PhotoScores scores{ConfusionMatrix(model.classes()), std::nullopt, 0, 0};
  const bool ids = scoring.at_label_size() && is_of_cityscapes(label_set);

  const auto photos = static_cast<int64_t>(dataset.samples.size());
  Prediction prediction;
  for (int64_t i = 0; i < photos; ++i) {
    const StoredSample sample(dataset.samples[to_size(i)], dataset.masks, label_set);
    const Image& stored = sample.labels();
    const Image labels =
        scoring.at_label_size() ? stored : resize_nearest(stored, info.height, info.width);
    std::string fault;
    const std::vector<Image> images = views_of(sample, graphs, scoring, &fault);
    if (!fault.empty()) observer.on_fault(fault);
    std::vector<PhotoView> views;
    views.reserve(images.size());
    for (const Image& image : images) views.push_back({image.pixels, image.height, image.width});
    predictor.run(views, labels.height, labels.width, false, prediction);
    count(labels.pixels, prediction.classes, scores.classes);
    if (ids && sample.ids().height > 0) {
      for (uint8_t& pixel : prediction.classes) pixel = info.inverse_ids[pixel];
      if (!scores.ids) scores.ids.emplace(kCityscapesIds);
      count(sample.ids().pixels, prediction.classes, *scores.ids);
    }
    const bool same = i == 0 || (scores.height == labels.height && scores.width == labels.width);
    scores.height = same ? labels.height : 0;
    scores.width = same ? labels.width : 0;
    observer.on_progress("evaluating", i + 1, photos);
  }
  return scores;
}

}  // namespace macadam
