#pragma once
// Pictures of masks: coloured, laid over the photo.

#include <array>
#include <cstdint>
#include <span>

#include "base/rgb.h"
#include "image/image.h"
#include "report/report.h"

namespace macadam {

/// What colorize gives to pixels without a class.
inline constexpr Rgb kIgnoredColor = {0, 0, 0};

/// A mask of class indices (1 channel) in the colours of its classes.
Image colorize(const Image& mask, std::span<const Rgb> palette);

/// The photo with `opacity` (0 to 1) of the classes' colours over it; pixels without a class stay
/// as they are. Requires a photo and a mask of the same size.
Image overlay(const Image& photo, const Image& mask, std::span<const Rgb> palette,
              double opacity = 0.5);

/// Where a prediction errs: the photo in grey, in red where the class is another than the truth's,
/// darker where there is no truth. Requires a photo and masks of the same size.
Image error_picture(const Image& photo, const Image& truth, const Image& prediction,
                    size_t classes);

/// Half, a third, ... of the size, the smallest reduction that makes it at most `max_width` wide.
/// Photos are averaged over whole pixels, masks (1 channel) are sampled.
Image reduce(const Image& image, int max_width);

/// The confusion matrix: percentages of the rows, which are the classes of the labels. Requires
/// classes^2 counts, row by row, and at least one class.
Image confusion_picture(std::span<const ClassScore> classes, std::span<const uint64_t> confusion);

/// The colours of the classes, in order.
std::vector<Rgb> palette_of(std::span<const ClassScore> classes);

}  // namespace macadam
