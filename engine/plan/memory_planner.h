#pragma once
// Offsets for blocks of known lifetime in one arena.

#include <cstddef>
#include <span>
#include <vector>

namespace macadam {

/// `bytes` needed from time `first` to time `last`, both included.
struct MemoryBlock {
  size_t bytes = 0;
  int first = 0, last = 0;
};

struct MemoryPlacement {
  std::vector<size_t> offsets;  // by block, multiples of 256
  size_t arena = 0;             // bytes of the arena
  size_t peak = 0;              // the most bytes alive at one time: no placement can need less
};

/// Blocks whose lifetimes overlap get disjoint places. Greedy by size, best fit: the largest block
/// first, each into the tightest gap between the blocks alive with it (Pisarchyk and Lee, 2020,
/// "Efficient Memory Management for Deep Neural Net Inference"). Where that needs more than the
/// peak, blocks that live long come earlier, and the best placement is taken.
MemoryPlacement place_blocks(std::span<const MemoryBlock> blocks);

}  // namespace macadam
