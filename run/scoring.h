#pragma once
// A model over the labelled images of a split: at the network's own size in batches, or photo by
// photo as `macadam predict` sees them.

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/infer/evaluator.h"
#include "loader/loader.h"
#include "models/loaded_model.h"
#include "run/observer.h"

namespace macadam {

/// The images of `dataset` at the model's size, with their labels as the model's classes.
/// `options` need no size. `observer`, which outlives the loader, is told of faults in photos,
/// which are taken all the same. Throws InputError when the data set has other classes than the
/// model (make_label_set of run/label_sets.h).
Loader open_loader(const ModelInfo& info, Dataset dataset, LoaderOptions options,
                   Observer& observer);

/// The model over all samples of the loader, of which up to `samples` are kept. Progress is that of
/// `work`.
Evaluation score(LoadedModel& model, Loader& loader, DeviceContext& context, DType dtype,
                 int64_t samples, std::string_view work, Observer& observer);

/// How a photo is seen, and at which size its mask is compared.
struct PhotoScoring {
  bool full = false;  // the whole photo at the network's size, compared at the labels' size
  bool tile = false;  // windows of the network's size over the photo as it is, compared so too
  bool flip = false;  // averaged with the mirror image
  std::vector<double> scales{1.0};  // of the network's size, or of the photo with `tile`; averaged

  /// Whether masks are compared at the size of the labels.
  bool at_label_size() const { return full || tile; }
  /// Whether it is what score() does.
  bool plain() const { return !full && !tile && !flip && scales == std::vector<double>{1.0}; }
};

/// Whether the classes are made of Cityscapes ids, so that official scores exist.
bool is_of_cityscapes(const LabelSet& labels);

struct PhotoScores {
  ConfusionMatrix classes;
  /// Of the ids of the masks and those that stand for the predicted classes, as
  /// cityscapes_scores() wants them; only where is_of_cityscapes() and masks of their own size are
  /// there (a pack keeps no ids).
  std::optional<ConfusionMatrix> ids;
  int height = 0, width = 0;  // that all masks were compared at; 0 when they differ
};

/// Scores one photo of `dataset`, whose labels are the model's classes by `label_set`, after the
/// other. Throws InputError as load_sample does, and when two scales come to the same size.
PhotoScores score_photos(LoadedModel& model, const Dataset& dataset, const LabelSet& label_set,
                         const PhotoScoring& scoring, DeviceContext& context, DType dtype,
                         Observer& observer);

}  // namespace macadam
