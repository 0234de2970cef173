#pragma once
// Random numbers one after the other, as a pure function of (seed, epoch, sample, purpose): the
// same for any number of threads, any order of the samples and after any resumption.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/scalar/philox.h"

namespace macadam {

/// Purposes from here on belong to the entries of an augmentation list; loader/sampling.cpp has
/// those below.
inline constexpr uint32_t kAugmentPurpose = 16;

/// Reads the blocks of Philox under the key `seed`, counted by (block, epoch, sample, purpose).
class RandomStream {
 public:
  RandomStream(uint64_t seed, int64_t epoch, int sample, uint32_t purpose);

  uint32_t word();
  /// Uniform in [0, 1), a multiple of 2^-32.
  double uniform();
  /// Uniform in [low, high).
  double uniform(double low, double high);
  /// Uniform among low, low + 1 ... high. Requires low <= high.
  int integer(int low, int high);
  bool chance(double probability);
  /// An index, each with a share proportional to its weight. Requires a positive sum.
  size_t choice(std::span<const double> weights);
  /// For random numbers that are made elsewhere.
  std::array<uint32_t, 2> key();

 private:
  uint32_t key0_, key1_;
  scalar::PhiloxBlock counter_;  // of the next block
  scalar::PhiloxBlock block_{};
  int used_ = 4;  // words of `block_`
};

}  // namespace macadam
