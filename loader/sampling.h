#pragma once
// The random choices of the loader, as pure functions of (seed, epoch, sample): the same for any
// number of threads and after any resumption.

#include <cstdint>
#include <vector>

namespace macadam {

/// A uniformly random order of 0 ... count - 1 (Fisher-Yates over Philox).
std::vector<int> permutation(uint64_t seed, int64_t epoch, int count);

/// Whether `sample` is mirrored in `epoch`; true with `probability`.
bool draw_flip(uint64_t seed, int64_t epoch, int sample, float probability);

}  // namespace macadam
