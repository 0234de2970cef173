#pragma once
// What the parameters of transforms are made of. A transform's describe() names them once
// (base/fields.h); those whose ranges follow what the network sees are given its size.

#include "base/fields.h"
#include "kernels/augment_program.h"

namespace macadam {

/// What the network sees.
struct ImageSize {
  int height = 0, width = 0;

  bool operator==(const ImageSize&) const = default;
};

/// What lies beyond the image for a transform that moves pixels.
struct BorderFill {
  Border border = Border::reflect;
  Rgb value{};           // with Border::constant
  int mask_value = 255;  // the same; 255 is ignored, while 0 would be a class

  /// The keys border_mode, value and mask_value.
  void describe(Fields& fields);

  bool operator==(const BorderFill&) const = default;
};

}  // namespace macadam
