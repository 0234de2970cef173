#pragma once
// Transforms of colour that look at all channels of a pixel, or at a neighbourhood. Parameters,
// defaults and laws are those of Albumentations 1.3.1. See geometry.h for what every transform has.

#include <array>
#include <cstdint>
#include <string_view>

#include "kernels/augment_program.h"
#include "loader/augment/cost.h"
#include "loader/augment/parameters.h"
#include "loader/augment/random_stream.h"
#include "loader/augment/statistics.h"

namespace macadam {

/// Brightness, contrast about the mean of the photo's grey, saturation and hue, in a random order.
struct ColorJitter {
  static constexpr std::string_view kName = "ColorJitter";
  Range brightness{0.8, 1.2}, contrast{0.8, 1.2}, saturation{0.8, 1.2};  // factors
  Range hue{-0.2, 0.2};                                                  // of a turn
  struct Drawn {
    double brightness = 1, contrast = 1, saturation = 1, hue = 0;
    std::array<int, 4> order{0, 1, 2, 3};  // of the four, as above
  };

  void describe(Fields& fields);
  void add_cost(ImageSize, AugmentCost& cost) const;
  bool needs_statistics() const { return contrast != Range{1, 1}; }
  Drawn draw(RandomStream& random, ImageSize) const;
  /// Looks at the statistics only where needs_statistics().
  void write(const Drawn& drawn, const ImageStatistics& statistics, AugmentBuilder& builder) const;

  bool operator==(const ColorJitter&) const = default;
};

/// Adds to H (0..179, cyclic), S and V of bytes; the sums are truncated.
struct HueSaturationValue {
  static constexpr std::string_view kName = "HueSaturationValue";
  Range hue_shift_limit{-20, 20}, sat_shift_limit{-30, 30}, val_shift_limit{-20, 20};
  struct Drawn {
    double hue = 0, saturation = 0, value = 0;
  };

  void describe(Fields& fields);
  void add_cost(ImageSize, AugmentCost& cost) const { cost.add_op(); }
  Drawn draw(RandomStream& random, ImageSize) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  bool operator==(const HueSaturationValue&) const = default;
};

/// Contrast-limited adaptive histogram equalisation of the L of CIE Lab.
struct Clahe {
  static constexpr std::string_view kName = "CLAHE";
  Range clip_limit{1, 4};
  std::array<int, 2> tile_grid_size{8, 8};  // across, down
  struct Drawn {
    double clip_limit = 0;
  };

  void describe(Fields& fields, ImageSize size);
  void add_cost(ImageSize, AugmentCost& cost) const {
    cost.add_equalize(tile_grid_size[0] * tile_grid_size[1]);
  }
  Drawn draw(RandomStream& random, ImageSize) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  bool operator==(const Clahe&) const = default;
};

/// The mean over a box of random odd width.
struct Blur {
  static constexpr std::string_view kName = "Blur";
  int blur_low = 3, blur_high = 7;
  struct Drawn {
    int size = 0;
  };

  void describe(Fields& fields);
  void add_cost(ImageSize, AugmentCost& cost) const;
  Drawn draw(RandomStream& random, ImageSize) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  bool operator==(const Blur&) const = default;
};

/// Adds normal noise of random variance; the sum is truncated.
struct GaussNoise {
  static constexpr std::string_view kName = "GaussNoise";
  Range var_limit{10, 50};
  double mean = 0;
  bool per_channel = true;
  struct Drawn {
    double sigma = 0;
    std::array<uint32_t, 2> key{};
  };

  void describe(Fields& fields);
  void add_cost(ImageSize, AugmentCost& cost) const { cost.add_op(); }
  Drawn draw(RandomStream& random, ImageSize) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  bool operator==(const GaussNoise&) const = default;
};

}  // namespace macadam
