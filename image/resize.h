#pragma once
// Changing the size of one image. Pixel centres lie at half-integers in both, so that the corners
// of source and result coincide. Single-threaded: the loader runs one sample a thread.

#include <cstdint>
#include <span>

#include "image/image.h"

namespace macadam {

/// The source index whose centre is nearest to that of `target`: floor((target + 0.5) * in / out).
inline int nearest_source(int target, int in, int out) {
  return static_cast<int>((2 * int64_t{target} + 1) * in / (2 * int64_t{out}));
}

/// Bilinear, for photos, without low-pass filtering (as cv2.INTER_LINEAR and torch's
/// align_corners=False). Weights have 11 fractional bits and sums are integers, so that the result
/// is the same on every machine; it lies within 1 of the exact value.
/// out: height x width x image.channels.
void resize_bilinear(const Image& image, int height, int width, std::span<uint8_t> out);
Image resize_bilinear(const Image& image, int height, int width);

/// Nearest neighbour, for masks: invents no ids. out: height x width x image.channels.
void resize_nearest(const Image& image, int height, int width, std::span<uint8_t> out);
Image resize_nearest(const Image& image, int height, int width);

/// A rectangle of an image, in pixels from its upper left corner; may pass the image's edges.
struct SourceWindow {
  double y = 0, x = 0, height = 0, width = 0;

  bool operator==(const SourceWindow&) const = default;
};

/// Resizes a window of an image as above: pixels beside the window, but within the image, take part
/// in the interpolation at the window's edges. What lies beyond the image is `fill`. Plain copies
/// where the window has the size of the result and whole offsets. Requires a window of positive
/// size.
void resize_bilinear(const Image& image, const SourceWindow& window, int height, int width,
                     uint8_t fill, std::span<uint8_t> out);
void resize_nearest(const Image& image, const SourceWindow& window, int height, int width,
                    uint8_t fill, std::span<uint8_t> out);

}  // namespace macadam
