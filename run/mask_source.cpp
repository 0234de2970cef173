#include "run/mask_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"
#include "image/resize.h"

namespace macadam {

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

class MasksOfModel final : public MaskSource {
 public:
  MasksOfModel(LoadedModel& model, const PhotoScoring& scoring, bool keep_scores,
               DeviceContext& context, DType dtype, Observer& observer)
      : info_(model.info()),
        scoring_(scoring),
        keep_scores_(keep_scores),
        observer_(observer),
        graphs_(graphs_of(model, scoring, context.device())),
        predictor_(graphs_, model.parameters(), context,
                   {dtype, info_.normalization, scoring.flip}) {}

  bool at_label_size() const override { return scoring_.at_label_size(); }

  void find(size_t, const StoredSample& sample, FoundMask& mask) override {
    mask.height = at_label_size() ? sample.labels().height : info_.height;
    mask.width = at_label_size() ? sample.labels().width : info_.width;
    std::string fault;
    const std::vector<Image> images = views_of(sample, graphs_, scoring_, &fault);
    if (!fault.empty()) observer_.on_fault(fault);
    std::vector<PhotoView> views;
    views.reserve(images.size());
    for (const Image& image : images) views.push_back({image.pixels, image.height, image.width});
    predictor_.run(views, mask.height, mask.width, keep_scores_, prediction_);
    mask.classes = prediction_.classes;
    mask.scores = prediction_.scores;
    mask.ids.resize(mask.classes.size());
    std::ranges::transform(mask.classes, mask.ids.begin(),
                           [&](uint8_t label) { return info_.inverse_ids[label]; });
  }

 private:
  const ModelInfo& info_;
  PhotoScoring scoring_;
  bool keep_scores_;
  Observer& observer_;
  std::vector<Graph> graphs_;
  Predictor predictor_;
  Prediction prediction_;
};

class MasksOfFolder final : public MaskSource {
 public:
  explicit MasksOfFolder(MaskFolder folder) : folder_(std::move(folder)) {}

  bool at_label_size() const override { return true; }

  void find(size_t index, const StoredSample& sample, FoundMask& mask) override {
    mask.height = sample.labels().height;
    mask.width = sample.labels().width;
    MaskFolder::Found found = folder_.read(index, mask.height, mask.width);
    mask.classes = std::move(found.classes.pixels);
    mask.ids = std::move(found.ids.pixels);
  }

 private:
  MaskFolder folder_;
};

}  // namespace

std::unique_ptr<MaskSource> masks_of_model(LoadedModel& model, const PhotoScoring& scoring,
                                           bool keep_scores, DeviceContext& context, DType dtype,
                                           Observer& observer) {
  return std::make_unique<MasksOfModel>(model, scoring, keep_scores, context, dtype, observer);
}

std::unique_ptr<MaskSource> masks_of_folder(MaskFolder folder) {
  return std::make_unique<MasksOfFolder>(std::move(folder));
}

}  // namespace macadam
