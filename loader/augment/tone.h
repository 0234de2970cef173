#pragma once
// Transforms that are look-up tables: a new value for each value, whatever its place. Parameters,
// laws and the arithmetic of the tables (float32, clipped, truncated) are those of Albumentations
// 1.3.1. See geometry.h for what every transform has.

#include <string_view>

#include "kernels/augment_program.h"
#include "loader/augment/cost.h"
#include "loader/augment/parameters.h"
#include "loader/augment/random_stream.h"
#include "loader/augment/statistics.h"

namespace macadam {

/// Adds a number to each channel.
struct RgbShift {
  static constexpr std::string_view kName = "RGBShift";
  Range r_shift_limit{-20, 20}, g_shift_limit{-20, 20}, b_shift_limit{-20, 20};
  struct Drawn {
    std::array<double, 3> shift{};
  };

  void describe(Fields& fields);
  void add_cost(ImageSize, AugmentCost& cost) const { cost.add_table(); }
  Drawn draw(RandomStream& random, ImageSize) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  bool operator==(const RgbShift&) const = default;
};

/// value * alpha + beta * 255, or + alpha * beta * mean of the photo: contrast about 0, not about
/// the mean.
struct RandomBrightnessContrast {
  static constexpr std::string_view kName = "RandomBrightnessContrast";
  Range brightness_limit{-0.2, 0.2}, contrast_limit{-0.2, 0.2};
  bool brightness_by_max = true;
  struct Drawn {
    double alpha = 1, beta = 0;
  };

  void describe(Fields& fields);
  void add_cost(ImageSize, AugmentCost& cost) const { cost.add_table(); }
  bool needs_statistics() const { return !brightness_by_max; }
  Drawn draw(RandomStream& random, ImageSize) const;
  /// Looks at the statistics only where needs_statistics().
  void write(const Drawn& drawn, const ImageStatistics& statistics, AugmentBuilder& builder) const;

  bool operator==(const RandomBrightnessContrast&) const = default;
};

struct RandomBrightness {
  static constexpr std::string_view kName = "RandomBrightness";
  Range limit{-0.2, 0.2};
  struct Drawn {
    double beta = 0;
  };

  void describe(Fields& fields);
  void add_cost(ImageSize, AugmentCost& cost) const { cost.add_table(); }
  Drawn draw(RandomStream& random, ImageSize) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  bool operator==(const RandomBrightness&) const = default;
};

struct RandomContrast {
  static constexpr std::string_view kName = "RandomContrast";
  Range limit{-0.2, 0.2};
  struct Drawn {
    double alpha = 1;
  };

  void describe(Fields& fields);
  void add_cost(ImageSize, AugmentCost& cost) const { cost.add_table(); }
  Drawn draw(RandomStream& random, ImageSize) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  bool operator==(const RandomContrast&) const = default;
};

/// (value / 255)^gamma * 255; limits in percent.
struct RandomGamma {
  static constexpr std::string_view kName = "RandomGamma";
  Range gamma_limit{80, 120};
  struct Drawn {
    double gamma = 1;
  };

  void describe(Fields& fields);
  void add_cost(ImageSize, AugmentCost& cost) const { cost.add_table(); }
  Drawn draw(RandomStream& random, ImageSize) const;
  void write(const Drawn& drawn, AugmentBuilder& builder) const;

  bool operator==(const RandomGamma&) const = default;
};

/// `value` clipped to a byte and truncated.
template <class Number>
uint8_t truncated_byte(Number value) {
  return static_cast<uint8_t>(value > 0 ? (value < 255 ? value : Number{255}) : Number{0});
}

}  // namespace macadam
