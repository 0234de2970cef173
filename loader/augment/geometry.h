#pragma once
// Transforms that move pixels by a formula, photo and mask alike. Parameters, defaults and laws are
// those of Albumentations 1.3.1 (augmentations/geometric), restated in docs/augmentation.md.
//
// Every transform has: describe(), its parameters; add_cost(), what it may write; draw(), the
// random part; and write(), the rest, a function of what was drawn alone.

#include <string_view>
#include <vector>

#include "kernels/augment_program.h"
#include "loader/augment/cost.h"
#include "loader/augment/parameters.h"
#include "loader/augment/random_stream.h"

namespace macadam {

struct HorizontalFlip {
  static constexpr std::string_view kName = "HorizontalFlip";
  struct Drawn {};

  void describe(Fields&) {}
  void add_cost(ImageSize, AugmentCost& cost) const { cost.add_map(); }
  Drawn draw(RandomStream&, ImageSize) const { return {}; }
  void write(const Drawn&, AugmentBuilder& builder) const { builder.mirror(); }

  bool operator==(const HorizontalFlip&) const = default;
};

/// Rotation about the centre (degrees, counter-clockwise), scaling (1 + limit), then a shift (as a
/// fraction of the width and of the height).
struct ShiftScaleRotate {
  static constexpr std::string_view kName = "ShiftScaleRotate";
  Range shift_limit_x{-0.0625, 0.0625}, shift_limit_y{-0.0625, 0.0625};
  Range scale_limit{-0.1, 0.1}, rotate_limit{-45, 45};
  BorderFill border{};
  struct Drawn {
    double angle = 0, scale = 1, dx = 0, dy = 0;
  };

  void describe(Fields& fields);
  void add_cost(ImageSize, AugmentCost& cost) const { cost.add_map(); }
  Drawn draw(RandomStream& random, ImageSize) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  bool operator==(const ShiftScaleRotate&) const = default;
};

/// Stretches columns and rows by segments: num_steps of them, and one for what the division leaves.
struct GridDistortion {
  static constexpr std::string_view kName = "GridDistortion";
  int num_steps = 5;
  Range distort_limit{-0.3, 0.3};
  bool normalized = false;  // the segments together stay within the image
  BorderFill border{};
  struct Drawn {
    std::vector<double> steps_x, steps_y;  // stretches, num_steps + 1 each
  };

  void describe(Fields& fields, ImageSize size);
  void add_cost(ImageSize, AugmentCost& cost) const;
  Drawn draw(RandomStream& random, ImageSize size) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  bool operator==(const GridDistortion&) const = default;
};

/// Barrel and pincushion distortion about a centre that is shifted by whole pixels.
struct OpticalDistortion {
  static constexpr std::string_view kName = "OpticalDistortion";
  Range distort_limit{-0.05, 0.05}, shift_limit{-0.05, 0.05};
  BorderFill border{};
  struct Drawn {
    double k = 0;
    int dx = 0, dy = 0;
  };

  void describe(Fields& fields);
  void add_cost(ImageSize, AugmentCost& cost) const { cost.add_map(); }
  Drawn draw(RandomStream& random, ImageSize) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  bool operator==(const OpticalDistortion&) const = default;
};

/// The inverse of the matrix [m0 m1 m2; m3 m4 m5], or all zero where there is none (OpenCV's
/// warpAffine does the same).
std::array<float, 6> inverse_affine(const std::array<double, 6>& m);

}  // namespace macadam
