#pragma once
// Masks over the labelled images of a split: a model's at the network's own size in batches, or
// photo by photo from any source.

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/infer/boundary.h"
#include "engine/infer/evaluator.h"
#include "engine/infer/soft_iou.h"
#include "loader/cityscapes_instances.h"
#include "loader/loader.h"
#include "models/loaded_model.h"
#include "run/mask_source.h"
#include "run/observer.h"

namespace macadam {

/// The images of `dataset` at the model's size, with their labels as the model's classes.
/// `options` need no size. `observer`, which outlives the loader, is told of faults in photos,
/// which are taken all the same. Throws InputError when the data set has other classes than the
/// model (make_label_set of run/label_sets.h).
Loader open_loader(const ModelInfo& info, Dataset dataset, LoaderOptions options,
                   Observer& observer);

/// The model over all samples of the loader, of which some are kept. Progress is that of
/// `work`.
Evaluation score(LoadedModel& model, Loader& loader, DeviceContext& context, DType dtype,
                 const KeptSamples& keep, std::string_view work, Observer& observer);

/// Whether the classes are made of Cityscapes ids, so that official scores exist.
bool is_of_cityscapes(const LabelSet& labels);

struct PhotoScores {
  ConfusionMatrix classes;
  /// Of the ids of the masks and those that stand for the predicted classes, as
  /// cityscapes_scores() wants them; only where is_of_cityscapes() and masks of their own size are
  /// there (a pack keeps no ids).
  std::optional<ConfusionMatrix> ids = std::nullopt;
  // Where they were asked for:
  std::optional<BoundaryCounts> boundaries = std::nullopt;
  std::optional<CityscapesInstances> instances = std::nullopt;  // where `ids` are
  std::optional<SoftIou> soft_iou = std::nullopt;
  int height = 0, width = 0;  // that all masks were compared at; 0 when they differ
};

/// What is counted of masks besides their pixels.
struct MaskScoring {
  std::optional<double> boundary = std::nullopt;  // BoundaryCounts::ratio()
  bool instances = false;  // of Cityscapes; needs PhotoScores::ids and the files of instances
  int soft_batch = 0;      // photos a batch of SoftIou, which needs FoundMask::scores; 0: none
};

/// Scores one photo of `dataset`, with labels by `label_set`, after the other. Where masks have not
/// the labels' size, labels are brought to theirs by nearest neighbor. Throws InputError as
/// load_sample and the source do.
PhotoScores score_masks(MaskSource& source, const Dataset& dataset, const LabelSet& label_set,
                        const MaskScoring& scoring, Observer& observer);

}  // namespace macadam
