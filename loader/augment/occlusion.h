#pragma once
// Transforms that hide or darken regions. Parameters, defaults and laws are those of Albumentations
// 1.3.1. See geometry.h for what every transform has.

#include <array>
#include <string_view>
#include <vector>

#include "kernels/augment_program.h"
#include "loader/augment/cost.h"
#include "loader/augment/parameters.h"
#include "loader/augment/random_stream.h"

namespace macadam {

/// Halves the lightness within random polygons.
struct RandomShadow {
  static constexpr std::string_view kName = "RandomShadow";
  std::array<double, 4> shadow_roi{0, 0.5, 1, 1};  // x0, y0, x1, y1 as fractions of the image
  int num_shadows_lower = 1, num_shadows_upper = 2;
  int shadow_dimension = 5;  // corners
  struct Drawn {
    std::vector<std::vector<AugmentBuilder::Corner>> polygons;
  };

  void describe(Fields& fields);
  void add_cost(ImageSize, AugmentCost& cost) const;
  Drawn draw(RandomStream& random, ImageSize size) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  bool operator==(const RandomShadow&) const = default;
};

/// Fills random rectangles, in the mask too unless mask_fill_value is "none".
struct CoarseDropout {
  static constexpr std::string_view kName = "CoarseDropout";
  int max_holes = 8, min_holes = 8;
  Extent max_height{8}, max_width{8}, min_height{8}, min_width{8};
  Rgb fill_value{};
  int mask_fill_value = kKeepLabel;
  struct Hole {
    int y = 0, x = 0, height = 0, width = 0;
  };
  struct Drawn {
    std::vector<Hole> holes;
  };

  void describe(Fields& fields, ImageSize size);
  void add_cost(ImageSize, AugmentCost& cost) const;
  Drawn draw(RandomStream& random, ImageSize size) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  bool operator==(const CoarseDropout&) const = default;
};

}  // namespace macadam
