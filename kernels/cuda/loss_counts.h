#pragma once
// What becomes of the pixels that a loss has counted, in launches between its sums and its
// gradient.

#include <cstddef>

#include "base/to_size.h"
#include "kernels/device.h"
#include "kernels/loss.h"

namespace macadam::cuda {

/// Of the counted errors; null without rank terms.
struct RankTables {
  double* losses = nullptr;  // of each term and class
  float* slopes = nullptr;   // of `total` times gradient_scale, by a probability, at error_place

  RankTables() = default;
  RankTables(const LossSums& at, int classes, void* memory) {
    if (!at.has_errors()) return;
    losses = static_cast<double*>(memory);
    slopes = reinterpret_cast<float*>(losses + kMaxLossTerms * classes);
  }
  /// A multiple of 8.
  static size_t bytes(const LossSums& at, int classes) {
    if (!at.has_errors()) return 0;
    return to_size(kMaxLossTerms * classes) * sizeof(double) +
           to_size(at.error_counts()) * sizeof(float);
  }
};

/// Fills the tables from the sums. Requires errors.
void finish_ranks(Stream& stream, const LossDesc& desc, const LossSums& at, int classes,
                  const double* sums, const RankTables& tables);

/// Finds which pixels the hardest are, and the sum of their weights, which it leaves in `sums`.
/// class_weights: or null. Requires a term that wants to know.
void find_hardest(Stream& stream, const LossDesc& desc, const LossSums& at, int classes,
                  const float* class_weights, double* sums, scalar::HardPixels* hard);

}  // namespace macadam::cuda
