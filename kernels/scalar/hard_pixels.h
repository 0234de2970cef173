#pragma once
// The hardest pixels of a batch: those whose label has the least probability, found by counting
// them in bins instead of sorting.

#include <cmath>

#include "kernels/scalar/half.h"
#include "kernels/scalar/loss_terms.h"

namespace macadam::scalar {

/// What a pixel misses, 1 - p, counts in bins whose borders are 1/64 of an octave apart, from 2^-16
/// on; what is smaller is in bin 0, 1 in the last.
constexpr int kHardnessOctaves = 16, kHardnessBins = 64 * kHardnessOctaves + 2;

/// NaN is the hardest.
MACADAM_HD int hardness_bin(float miss) {
  const float least = 1.0f / (1 << kHardnessOctaves);
  if (miss < least) return 0;
  const uint32_t bin = ((bits_of_float(miss) - bits_of_float(least)) >> 17) + 1;
  return bin < kHardnessBins ? static_cast<int>(bin) : kHardnessBins - 1;
}

/// The pixels that are kept, by their labels' probabilities: those below the threshold and those of
/// the bins from `first_bin` on. None by default, but for NaN.
struct HardPixels {
  float threshold = 0;
  int first_bin = kHardnessBins;

  MACADAM_HD bool keep(float p) const {
    return !(p >= threshold) || hardness_bin(1 - p) >= first_bin;
  }
};

/// Pixels of each class are counted by hardness, and behind the bins those below the threshold.
constexpr int kHardnessCounts = kHardnessBins + 1;
MACADAM_HD int hardness_place(int c, int bin) { return c * kHardnessCounts + bin; }

/// How many pixels are kept at least.
MACADAM_HD double least_kept(float share, double pixels) {
  return std::ceil(static_cast<double>(share) * pixels);
}

/// The first bin to be kept, or kHardnessBins where those below the threshold, `below`, are enough.
/// bin_count(b): the pixels of bin b, which is more than 0.
template <typename BinCount>
MACADAM_HD int first_hard_bin(double below, double least, const BinCount& bin_count) {
  if (below >= least) return kHardnessBins;
  double kept = 0;
  for (int bin = kHardnessBins - 1; bin > 0; --bin) {
    kept += bin_count(bin);
    if (kept >= least) return bin;
  }
  return 0;
}

}  // namespace macadam::scalar
