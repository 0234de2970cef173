#pragma once
// A list of transforms, as the configuration's `augment` gives it.

#include <string_view>
#include <variant>
#include <vector>

#include "loader/augment/color.h"
#include "loader/augment/cost.h"
#include "loader/augment/crop.h"
#include "loader/augment/elastic.h"
#include "loader/augment/geometry.h"
#include "loader/augment/occlusion.h"
#include "loader/augment/parameters.h"
#include "loader/augment/tone.h"

namespace macadam {

struct AugmentEntry;
using AugmentList = std::vector<AugmentEntry>;

/// Runs one of its transforms, chosen with their p as weights.
struct OneOf {
  static constexpr std::string_view kName = "OneOf";
  AugmentList transforms;

  bool operator==(const OneOf& other) const;
};

/// Runs its transforms in order, each with its own p.
struct Compose {
  static constexpr std::string_view kName = "Compose";
  static constexpr double kDefaultP = 1;
  AugmentList transforms;

  bool operator==(const Compose& other) const;
};

using Transform =
    std::variant<RandomScale, RandomCrop, HorizontalFlip, ShiftScaleRotate, GridDistortion,
                 OpticalDistortion, ElasticTransform, Blur, GaussNoise, RgbShift, RandomBrightness,
                 RandomContrast, RandomBrightnessContrast, RandomGamma, ColorJitter,
                 HueSaturationValue, Clahe, RandomShadow, CoarseDropout, OneOf, Compose>;

struct AugmentEntry {
  Transform transform;
  double p = 0.5;  // within OneOf a weight

  bool operator==(const AugmentEntry&) const = default;
};

/// The transforms within an entry that holds some (OneOf, Compose); else null.
const AugmentList* children_of(const AugmentEntry& entry);

/// The list of the default configuration: mirrored half of the time.
AugmentList default_augmentation();

/// Reads a list of tables {name = STRING, p = NUMBER, PARAMETER = VALUE ...}. `where` stands in
/// errors; size: what the network sees.
/// Throws InputError naming the entry ("augment[2] GridDistortion.distort_limit"): unknown
/// transforms and parameters (with the nearest valid one), wrong types, values out of range, a
/// wrong order, and lists whose programs could pass what AugmentHeader holds.
AugmentList parse_augmentation(const ParameterValue& value, std::string_view where, ImageSize size);

/// The list with every parameter; parsing it gives the same list.
ParameterValue to_value(const AugmentList& list);

/// Throws InputError when a transform fills the mask with a label that `classes` classes do not
/// have (255, ignored, may always be filled in).
void check_fill_labels(const AugmentList& list, int classes);

/// What a transform that moves pixels does at the borders; null for the others.
const BorderFill* border_of(const AugmentEntry& entry);

/// What programs of the list hold at most.
AugmentCost cost_of(const AugmentList& list, ImageSize size);

}  // namespace macadam
