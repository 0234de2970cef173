#pragma once
// Writing JPEGs with libjpeg-turbo (the other door to it: image/jpeg.h).

#include <cstdint>
#include <vector>

#include "image/image.h"

namespace macadam {

/// A baseline JPEG of an image of 3 channels (RGB), colours at half the size. The same bytes for
/// the same pixels. Requires a quality from 1 to 100 and sides of at most 65'500.
std::vector<uint8_t> encode_jpeg(const Image& image, int quality);

}  // namespace macadam
