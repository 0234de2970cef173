#include "engine/plan/memory_planner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/round_up.h"
#include "kernels/device.h"

namespace macadam {

namespace {

size_t aligned(size_t bytes) { return round_up(bytes, kMemoryAlignment); }

bool overlap(const MemoryBlock& a, const MemoryBlock& b) {
  return a.first <= b.last && b.first <= a.last;
}

size_t peak_of(std::span<const MemoryBlock> blocks) {
  size_t peak = 0;
  for (const MemoryBlock& at : blocks) {  // some block begins at every peak
    size_t alive = 0;
    for (const MemoryBlock& block : blocks) {
      if (block.first <= at.first && at.first <= block.last) alive += aligned(block.bytes);
    }
    peak = std::max(peak, alive);
  }
  return peak;
}

/// Places one block after another, each into the tightest gap between those alive with it.
MemoryPlacement place_in_order(std::span<const MemoryBlock> blocks, std::span<const size_t> order) {
  MemoryPlacement placement;
  placement.offsets.assign(blocks.size(), 0);
  std::vector<size_t> placed;  // sorted by offset
  for (const size_t index : order) {
    const size_t bytes = aligned(blocks[index].bytes);
    size_t best = 0, best_gap = std::numeric_limits<size_t>::max(), end = 0;
    for (const size_t other : placed) {
      if (!overlap(blocks[index], blocks[other])) continue;
      const size_t begin = placement.offsets[other];
      if (begin >= end + bytes && begin - end < best_gap) {
        best = end;
        best_gap = begin - end;
      }
      end = std::max(end, begin + aligned(blocks[other].bytes));
    }
    const size_t offset = best_gap == std::numeric_limits<size_t>::max() ? end : best;
    placement.offsets[index] = offset;
    placement.arena = std::max(placement.arena, offset + bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), index,
                                   [&](size_t a, size_t b) {
                                     return placement.offsets[a] < placement.offsets[b];
                                   }),
                  index);
  }
  return placement;
}

}  // namespace

MemoryPlacement place_blocks(std::span<const MemoryBlock> blocks) {
  const size_t peak = peak_of(blocks);
  std::vector<size_t> order(blocks.size());
  std::vector<double> keys(blocks.size());
  MemoryPlacement best;
  for (const double power : {0.0, 0.5, 1.0}) {
    for (size_t i = 0; i < blocks.size(); ++i) {
      const double times = blocks[i].last - blocks[i].first + 1;
      keys[i] = static_cast<double>(blocks[i].bytes) * std::pow(times, power);
    }
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return keys[a] > keys[b]; });
    MemoryPlacement placement = place_in_order(blocks, order);
    if (power == 0 || placement.arena < best.arena) best = std::move(placement);
    if (best.arena == peak) break;
  }
  best.peak = peak;
  return best;
}

}  // namespace macadam
