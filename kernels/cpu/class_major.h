#pragma once
// Class scores lie pixel by pixel; arithmetic over few classes runs in vectors over pixels. These
// move a block of pixels between the two orders.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/scalar/half.h"

namespace macadam::cpu {

/// Pixels of a block.
constexpr int kBlockPixels = 64;

/// One class's values in a block.
using ClassRow = float[kBlockPixels];

/// Four bf16 of a pixel travel as one word: a quarter of the scalar loads and stores.
constexpr int kWordClasses = 4;
static_assert(std::endian::native == std::endian::little);

/// Calls body(first) for groups of four classes that cover [0, classes); the last may overlap.
template <typename Body>
void for_class_words(int classes, const Body& body) {
  for (int first = 0; first + kWordClasses < classes; first += kWordClasses) body(first);
  body(classes - kWordClasses);
}

/// rows[c][p] = scores of pixel p; pixels at and after `pixels` get 0.
template <typename T>
void to_class_major(const T* scores, int64_t pixel_stride, int pixels, int classes,
                    ClassRow* rows) {
  for (int p = 0; p < pixels; ++p) {
    const T* from = scores + p * pixel_stride;
    for (int c = 0; c < classes; ++c) rows[c][p] = scalar::to_float(from[c]);
  }
  for (int c = 0; c < classes; ++c) std::fill(rows[c] + pixels, rows[c] + kBlockPixels, 0.0f);
}

inline void to_class_major(const bf16* scores, int64_t pixel_stride, int pixels, int classes,
                           ClassRow* rows) {
  if (classes < kWordClasses)
    return to_class_major<bf16>(scores, pixel_stride, pixels, classes, rows);
  alignas(64) uint64_t words[kBlockPixels];
  std::fill(words + pixels, words + kBlockPixels, uint64_t{0});
  for_class_words(classes, [&](int first) {
    for (int p = 0; p < pixels; ++p) {
      std::memcpy(&words[p], scores + p * pixel_stride + first, sizeof words[p]);
    }
    for (int k = 0; k < kWordClasses; ++k) {
      float* row = rows[first + k];
      const int shift = 16 * k;
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) {
        row[p] = scalar::to_float(bf16{static_cast<uint16_t>(words[p] >> shift)});
      }
    }
  });
}

/// Scores of pixel p = rows[c][p], rounded.
template <typename T>
void from_class_major(const ClassRow* rows, int pixels, int classes, T* scores,
                      int64_t pixel_stride) {
  for (int p = 0; p < pixels; ++p) {
    T* to = scores + p * pixel_stride;
    for (int c = 0; c < classes; ++c) to[c] = scalar::from_float<T>(rows[c][p]);
  }
}

inline void from_class_major(const ClassRow* rows, int pixels, int classes, bf16* scores,
                             int64_t pixel_stride) {
  if (classes < kWordClasses) {
    return from_class_major<bf16>(rows, pixels, classes, scores, pixel_stride);
  }
  alignas(64) uint32_t low[kBlockPixels], high[kBlockPixels];
  for_class_words(classes, [&](int first) {
    const ClassRow* row = rows + first;
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) {
      low[p] = scalar::to_bf16(row[0][p]).bits |
               static_cast<uint32_t>(scalar::to_bf16(row[1][p]).bits) << 16;
      high[p] = scalar::to_bf16(row[2][p]).bits |
                static_cast<uint32_t>(scalar::to_bf16(row[3][p]).bits) << 16;
    }
    for (int p = 0; p < pixels; ++p) {
      const uint64_t word = low[p] | static_cast<uint64_t>(high[p]) << 32;
      std::memcpy(scores + p * pixel_stride + first, &word, sizeof word);
    }
  });
}

}  // namespace macadam::cpu
