#pragma once
// A 5x7 bitmap font, so that pictures can carry their legend without a font library.

#include <array>
#include <cstdint>
#include <string_view>

#include "base/rgb.h"
#include "image/image.h"

namespace macadam {

inline constexpr int kGlyphWidth = 5, kGlyphHeight = 8, kGlyphAdvance = 6;

/// Pixels that `text` takes in width at this scale. Characters outside printable ASCII, such as
/// the sequences of UTF-8, count as one box each.
int text_width(std::string_view text, int scale);

/// Draws `text` with its top left corner at (x, y); what lies outside the picture is cut. Requires
/// an RGB image and scale >= 1.
void draw_text(Image& image, int x, int y, std::string_view text, const Rgb& color, int scale);

}  // namespace macadam
