#pragma once
// Transforms that choose the part of a photo that the network sees: they act on the photo as it is
// on disk, before everything else.

#include <cstdint>
#include <span>
#include <string_view>

#include "image/resize.h"
#include "loader/augment/parameters.h"
#include "loader/augment/random_stream.h"

namespace macadam {

/// The train labels of a whole photo.
struct LabelMap {
  int height = 0, width = 0;
  std::span<const uint8_t> labels;  // height x width; empty where nothing asks for them
};

/// Enlarges the photo (1 + limit) before a RandomCrop.
struct RandomScale {
  static constexpr std::string_view kName = "RandomScale";
  Range scale_limit{-0.1, 0.1};

  void describe(Fields& fields);
  double draw(RandomStream& random) const;

  bool operator==(const RandomScale&) const = default;
};

/// Cuts a rectangle out of the scaled photo, at a place that is uniform among whole pixels. Along
/// an axis where the photo is the smaller one, it lies as a whole within the rectangle, at a
/// uniform place too.
struct RandomCrop {
  static constexpr std::string_view kName = "RandomCrop";
  static constexpr double kDefaultP = 1;
  static constexpr int kRedraws = 10;
  int height = 0, width = 0;  // pixels of the scaled photo; 0 is the network's size
  /// Share of the samples whose rectangle has a pixel of a drawn class in its middle (as far as the
  /// photo's edges allow): the class uniform among those present, the pixel among its pixels.
  double class_uniform = 0;
  /// Draws again, at most kRedraws times, while one class fills this share or more of the labelled
  /// pixels, or is alone. The last draw stands. 1: never (mmsegmentation's rule).
  double cat_max_ratio = 1;

  void describe(Fields& fields, ImageSize size);
  bool needs_labels() const { return class_uniform > 0 || cat_max_ratio < 1; }
  /// The rectangle in pixels of the photo, which is enlarged by `scale` to whole pixels (rounded
  /// down) first. Requires labels of the photo's size where needs_labels().
  SourceWindow draw(RandomStream& random, double scale, const LabelMap& photo) const;

  bool operator==(const RandomCrop&) const = default;
};

}  // namespace macadam
