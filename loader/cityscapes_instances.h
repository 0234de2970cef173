#pragma once
// Instance-level scores of the official Cityscapes evaluation: iIoU, where every instance of a
// class counts the same however large it is. Source: cityscapesScripts 2.3.0,
// evaluation/evalPixelLevelSemanticLabeling.py.

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "loader/cityscapes_scores.h"
#include "loader/dataset.h"

namespace macadam {

/// Where the instances of a sample's mask are: *_instanceIds.png beside *_labelIds.png. Throws
/// InputError when the mask has no such name.
std::filesystem::path instance_file(const Sample& sample);

/// How many pixels of the instances were predicted right and wrong, each pixel weighted by the mean
/// size of its class's instances over its own instance's.
class CityscapesInstances {
 public:
  struct Weights {
    double hits = 0, misses = 0;
  };

  /// Counts one image: instance ids (1000 times the label id and a number; up to 1000 there is no
  /// instance), and the ids that were predicted for the same pixels. Sums are taken in the official
  /// order, by rising instance ids. Throws InputError naming `file` where the thousands of a number
  /// are no id, or that of an evaluated class without instances.
  void add(std::span<const uint16_t> instances, std::span<const uint8_t> predictions,
           std::string_view file);

  /// Of label ids that have no instances and are not evaluated both are 0.
  const Weights& of_class(int id) const { return classes_.at(static_cast<size_t>(id)); }
  /// Of the categories besides void, 0 for flat: an instance is hit by any id of its category.
  const Weights& of_category(int category) const {
    return categories_.at(static_cast<size_t>(category));
  }

 private:
  std::array<Weights, kCityscapesIds> classes_{};
  std::array<Weights, 7> categories_{};
};

/// Of the 8 classes and the 2 categories that have instances.
struct CityscapesInstanceScores {
  std::vector<CityscapesScores::Score> classes, categories;
  double class_iou = 0, category_iou = 0;  // means of those that are not NaN; NaN without any
};

/// `ids`: as for cityscapes_scores(), of the same images: pixels that were predicted falsely are
/// counted by it, without weights.
CityscapesInstanceScores instance_scores(const ConfusionMatrix& ids,
                                         const CityscapesInstances& instances);

}  // namespace macadam
