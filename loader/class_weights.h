#pragma once
// Weights for the loss that make up for classes of unequal frequency.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace macadam {

/// How often one class occurs in a split. Ignored pixels count nowhere.
struct ClassFrequency {
  uint64_t pixels = 0;        // of the class
  uint64_t images = 0;        // that have a pixel of it
  uint64_t image_pixels = 0;  // labelled pixels of those images

  bool operator==(const ClassFrequency&) const = default;
};

enum class ClassWeighting : uint8_t {
  enet,              // 1 / ln(1.02 + share of the pixels). Paszke et al., 2016, section 5
  median_frequency,  // median(f) / f, f = pixels / image_pixels. Eigen and Fergus, 2015, section 6
  effective_number,  // (1 - b) / (1 - b^images), scaled to a mean of 1. Cui et al., CVPR 2019
  balanced,          // pixels of all / (classes that occur * pixels), at most the cap
  cityscapes,        // fixed, of the 19 classes of trainids19; source: mmsegmentation, DeepLab
};

/// Numbers that one rule each has.
struct ClassWeightingOptions {
  double beta = 0.999;  // b of effective_number, from 0 to below 1
  double cap = 10;      // of balanced

  bool operator==(const ClassWeightingOptions&) const = default;
};

/// In the order of the enumeration: "enet", "median_frequency", ...
std::span<const std::string_view> class_weighting_names();
std::string_view name_of(ClassWeighting weighting);

/// Classes that `cityscapes` has weights for.
inline constexpr int kCityscapesWeights = 19;

/// One weight a class; but for `cityscapes` 0 for a class that does not occur (and has no part in
/// the median or sum). Requires kCityscapesWeights classes for `cityscapes`.
std::vector<double> class_weights(ClassWeighting weighting,
                                  const std::vector<ClassFrequency>& classes,
                                  const ClassWeightingOptions& options = {});

}  // namespace macadam
