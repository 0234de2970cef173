#pragma once
// The class of the largest score, for a block of pixels.

#include <array>

#include "kernels/cpu/class_major.h"
#include "kernels/scalar/compare.h"
#include "kernels/scalar/confidence.h"

namespace macadam::cpu {

/// Classes transposed together.
constexpr int kClassBlock = 32;

/// result[p] = the best of the scores of pixel p, for up to kBlockPixels pixels; confidence[p] =
/// the byte of its probability, unless that is null.
template <typename T>
void argmax_block(const T* scores, int64_t stride, int pixels, int classes, uint8_t* result,
                  uint8_t* confidence) {
  alignas(64) ClassRow rows[kClassBlock];
  alignas(64) ClassRow best;
  alignas(64) std::array<int, kBlockPixels> winners{};
  int* const winner = winners.data();
  for (int first = 0; first < classes; first += kClassBlock) {
    const int count = std::min(kClassBlock, classes - first);
    to_class_major(scores + first, stride, pixels, count, rows);
    if (first == 0) std::copy_n(rows[0], kBlockPixels, best);
    for (int c = first == 0 ? 1 : 0; c < count; ++c) {
      const float* row = rows[c];
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) {
        const bool wins = scalar::score_wins(row[p], best[p]);
        best[p] = wins ? row[p] : best[p];
        winner[p] = wins ? first + c : winner[p];
      }
    }
  }
  for (int p = 0; p < pixels; ++p) result[p] = static_cast<uint8_t>(winner[p]);
  if (confidence == nullptr) return;

  alignas(64) ClassRow sum{};
  for (int first = 0; first < classes; first += kClassBlock) {
    const int count = std::min(kClassBlock, classes - first);
    if (classes > kClassBlock) to_class_major(scores + first, stride, pixels, count, rows);
    for (int c = 0; c < count; ++c) {
      const float* row = rows[c];
#pragma omp simd
      for (int p = 0; p < kBlockPixels; ++p) sum[p] += scalar::exp_share(row[p], best[p]);
    }
  }
  for (int p = 0; p < pixels; ++p) confidence[p] = scalar::confidence_byte(sum[p]);
}

}  // namespace macadam::cpu
