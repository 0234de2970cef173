#pragma once
// Pixel operations of an augmentation program on runs of pixels: scalar/pixel_ops.h for many pixels
// at a time.

#include <cstddef>
#include <cstdint>

#include "kernels/augment_program.h"

namespace macadam::cpu {

/// Neighbouring pixels of one row of an image, R, G, B.
struct PixelRun {
  int y, x, count;
  uint8_t* rgb;
};

/// What operations know besides pixels.
struct PixelContext {
  const std::byte* program;
  int height, width;
  const uint8_t* equalize_tables;  // of this sample: 256 bytes a tile, row by row
};

/// Requires at most kRunPixels pixels.
void apply(const PixelOp& op, const PixelContext& context, const PixelRun& run);

/// What a hole does to labels [x, x + count) of row y.
void apply_hole(const PixelOp& op, int y, int x, int count, uint8_t* labels);

/// CLAHE's table of one tile of an image.
void equalize_table(const PixelOp& op, const uint8_t* image, int height, int width, int tile,
                    uint8_t* table);

/// sums += added - removed, byte by byte; `removed` may be null.
void slide_sums(uint16_t* sums, const uint8_t* added, const uint8_t* removed, int count);

/// The rounded means of boxes `size` pixels wide, the first one over sums [0, 3 size): `pixels` of
/// them, from the sums of columns `size` pixels tall.
void box_means(const uint16_t* sums, int size, int pixels, uint8_t* rgb);

}  // namespace macadam::cpu
