#pragma once
// Runs of pixels of a resampled image: scalar/warp.h for many pixels at a time.

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/augment_program.h"

namespace macadam::cpu {

/// Neighbouring pixels of one row that are computed together at most, and the bytes of a buffer
/// for their colours: rounded up, because vectors are written whole.
constexpr int kRunPixels = 288;
constexpr int kRunBytes = 3 * kRunPixels + 64;

/// Bytes of an image, or of labels.
struct ByteImage {
  const uint8_t* data;
  int height, width;
};

/// Where the pixels of a run come from: scalar::Source, one array a member.
struct Sources {
  alignas(64) std::array<int32_t, kRunPixels> x, y;
  std::array<uint8_t, kRunPixels> inside;
  bool all_inside;  // no border was constant, or none was reached
};

/// The sources of pixels [x, x + count) of row y; count <= kRunPixels. `program` has maps.
void find_sources(const AugmentHeader& header, const std::byte* program, int height, int width,
                  int y, int x, int count, Sources& sources);

/// Mixes the four pixels around each source. `rgb`: kRunBytes.
void sample_colors(const ByteImage& image, const Sources& sources, int count,
                   const std::array<uint8_t, 4>& fill, uint8_t* rgb);

/// The labels nearest to sources [first, first + count).
void sample_labels(const ByteImage& labels, const Sources& sources, int first, int count,
                   const std::array<uint8_t, 4>& fill, uint8_t* out);

}  // namespace macadam::cpu
