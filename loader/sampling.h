#pragma once
// The random choices of the loader, as pure functions of (seed, epoch, sample): the same for any
// number of threads and after any resumption.

#include <cstdint>
#include <vector>

namespace macadam {

/// A uniformly random order of 0 ... count - 1 (Fisher-Yates over Philox).
std::vector<int> permutation(uint64_t seed, int64_t epoch, int count);

/// What rank `rank` of `ranks` sees of an order: every ranks-th sample from `rank` on, so that the
/// ranks' n-th batches are together the n-th batch of ranks * batch samples. With `drop_last` only
/// whole batches, equally many on all ranks; without, everything once, and nothing twice to fill
/// up.
std::vector<int> rank_share(std::vector<int> order, int rank, int ranks, int batch, bool drop_last);

}  // namespace macadam
