#include "loader/sampling.h"

#include <cstddef>
#include <numeric>
#include <utility>

#include "base/to_size.h"
#include "kernels/scalar/philox.h"

namespace macadam {

namespace {

/// Keeps these random numbers apart from those of the augmentation (kAugmentPurpose).
constexpr uint32_t kOrderPurpose = 1;

scalar::PhiloxBlock draw(uint64_t seed, int64_t epoch, uint32_t index) {
  const auto e = static_cast<uint64_t>(epoch);
  return scalar::philox(
      {{index, static_cast<uint32_t>(e), static_cast<uint32_t>(e >> 32), kOrderPurpose}},
      static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}

}  // namespace

std::vector<int> permutation(uint64_t seed, int64_t epoch, int count) {
  std::vector<int> order(to_size(count));
  std::iota(order.begin(), order.end(), 0);
  for (uint32_t last = static_cast<uint32_t>(count); last-- > 1;) {
    const auto random = draw(seed, epoch, last);
    // The upper half of the product is uniform in [0, last] to within 2^-32.
    const uint64_t chosen = (uint64_t{random.word[0]} * (uint64_t{last} + 1)) >> 32;
    std::swap(order[last], order[chosen]);
  }
  return order;
}

std::vector<int> rank_share(std::vector<int> order, int rank, int ranks, int batch,
                            bool drop_last) {
  if (drop_last) order.resize(order.size() - order.size() % to_size(ranks * batch));
  std::vector<int> share;
  for (auto i = to_size(rank); i < order.size(); i += to_size(ranks)) {
    share.push_back(order[i]);
  }
  return share;
}

}  // namespace macadam
