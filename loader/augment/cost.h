#pragma once
// What a program may come to hold, counted from the list before anything is drawn.

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/round_up.h"
#include "kernels/augment_program.h"

namespace macadam {

/// Grows with each transform, as AugmentBuilder's program would at most: that tables which follow
/// each other share one operation is left out of account.
struct AugmentCost {
  int maps = 0, ops = 0;
  size_t data = 0;  // bytes
  int stages = 1;
  bool blurred = false;  // the last stage
  int blur = 0;
  int tiles = 0;

  void add_map(size_t bytes = 0) {
    ++maps;
    data += round_up(bytes, 4);
  }
  void add_op(size_t bytes = 0) {
    ++ops;
    data += round_up(bytes, 4);
  }
  void add_table() { add_op(sizeof(AugmentBuilder::Table)); }
  void add_blur(int size) {
    if (blurred) ++stages;
    blurred = true;
    blur = std::max(blur, size);
  }
  void add_equalize(int tile_count) {
    add_op();
    ++stages;
    blurred = false;
    tiles = std::max(tiles, tile_count);
  }

  AugmentLimits limits() const {
    return {.bytes = round_up(sizeof(AugmentHeader) + data, 16),
            .stages = stages,
            .blur = blur,
            .equalize_tiles = tiles};
  }

  /// At least what either of two programs holds, whatever follows.
  friend AugmentCost worst(const AugmentCost& a, const AugmentCost& b) {
    const auto last = std::max(std::pair(a.stages, a.blurred), std::pair(b.stages, b.blurred));
    return {.maps = std::max(a.maps, b.maps),
            .ops = std::max(a.ops, b.ops),
            .data = std::max(a.data, b.data),
            .stages = last.first,
            .blurred = last.second,
            .blur = std::max(a.blur, b.blur),
            .tiles = std::max(a.tiles, b.tiles)};
  }
};

}  // namespace macadam
