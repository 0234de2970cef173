#pragma once
// Terms of a loss as other frameworks have them.

#include <optional>
#include <span>
#include <string_view>

#include "kernels/loss.h"

namespace macadam {

/// One term of a preset. A preset of several has one after the other.
struct LossPreset {
  std::string_view name;  // "dice:smp"
  std::string_view term;
  float parameters[kMaxLossParameters] = {};
  float weight = 1;
  bool over_classes = false;               // see LossTerm
  std::optional<AbsentClass> absent = {};  // what it needs for absent classes
};

/// With the default arguments of segmentation_models.pytorch 0.6 (smp) and of segmentation_models
/// 1.0.1 (keras): tests/golden/make_loss_goldens.py has their numbers. smp clamps denominators at
/// 1e-7, Keras probabilities to [1e-7, 1 - 1e-7]: there they differ.
std::span<const LossPreset> loss_presets();

}  // namespace macadam
