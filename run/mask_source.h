#pragma once
// Where the masks come from that are scored: a model sees the photos, or files hold what some tool
// made of them.

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/infer/predictor.h"
#include "loader/dataset.h"
#include "loader/label_set.h"
#include "loader/mask_folder.h"
#include "loader/sample_reader.h"
#include "models/loaded_model.h"
#include "run/observer.h"

namespace macadam {

/// What was found in a photo; height x width values each.
struct FoundMask {
  int height = 0, width = 0;
  std::vector<uint8_t> classes;  // kIgnore: none of the label set's
  std::vector<uint8_t> ids;      // what stands for them in mask files; kIgnore: nothing
  std::vector<float> scores;     // of each class, as logits; only of a model that is asked for them
};

class MaskSource {
 public:
  virtual ~MaskSource() = default;
  /// Whether masks have the size of the labels, whatever that is.
  virtual bool at_label_size() const = 0;
  /// The mask of the data set's sample number `index`, whose labels are read. Throws InputError
  /// naming the file when photo or mask cannot be had.
  virtual void find(size_t index, const StoredSample& sample, FoundMask& mask) = 0;
};

/// How a model sees a photo, and at which size its mask is compared.
struct PhotoScoring {
  bool full = false;  // the whole photo at the network's size, compared at the labels' size
  bool tile = false;  // windows of the network's size over the photo as it is, compared so too
  bool flip = false;  // averaged with the mirror image
  std::vector<double> scales{1.0};  // of the network's size, or of the photo with `tile`; averaged

  /// Whether masks are compared at the size of the labels.
  bool at_label_size() const { return full || tile; }
  /// Whether it is what score() of run/scoring.h does.
  bool plain() const { return !full && !tile && !flip && scales == std::vector<double>{1.0}; }
};

/// What a model finds, as `macadam predict` writes it, with FoundMask::scores if `keep_scores`. All
/// references but `scoring` outlive it; `observer` is told of faults in photos. Throws InputError
/// when two scales come to one size.
std::unique_ptr<MaskSource> masks_of_model(LoadedModel& model, const PhotoScoring& scoring,
                                           bool keep_scores, DeviceContext& context, DType dtype,
                                           Observer& observer);

/// What the files of a folder hold; the labels' size is required of each.
std::unique_ptr<MaskSource> masks_of_folder(MaskFolder folder);

}  // namespace macadam
