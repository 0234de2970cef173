#pragma once
// Which way up a camera was held: the orientation tag of EXIF, read and applied.
// Source: CIPA DC-008 (Exif 2.32), sections 4.5 and 4.6.4; TIFF 6.0, section 2.

#include <cstdint>
#include <span>

#include "image/image.h"

namespace macadam {

/// The orientation of a JPEG, 1 to 8 as EXIF numbers them; 1 (upright) when the file names none or
/// a part of its EXIF segment is not valid: a photo without a sound tag is taken as it lies.
int exif_orientation(std::span<const uint8_t> jpeg);

/// Whether the upright image has the height of the stored one's width.
inline bool swaps_sides(int orientation) { return orientation >= 5; }

/// The image that is seen upright. Requires an orientation from 1 to 8.
Image upright(Image image, int orientation);

}  // namespace macadam
