#pragma once
// Weights for the loss that make up for classes of unequal frequency.

#include <cstdint>
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
  effective_number,  // (1 - b) / (1 - b^images), b = 0.999, scaled to a mean of 1. Cui et al., 2019
};

/// "enet", "median_frequency", "effective_number".
std::string_view name_of(ClassWeighting weighting);

/// One weight a class; 0 for a class that does not occur (and has no part in the median or sum).
std::vector<double> class_weights(ClassWeighting weighting,
                                  const std::vector<ClassFrequency>& classes);

}  // namespace macadam
