#pragma once
// The colours of shares, from white to dark blue.

#include "base/rgb.h"

namespace macadam {

/// The colour of a share from 0 to 1 (ColorBrewer's Blues, evenly spaced in lightness); others are
/// taken as the nearest.
Rgb blue_shade(double share);

}  // namespace macadam
