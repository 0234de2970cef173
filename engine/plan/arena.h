#pragma once
// The one block of memory that a plan's tensors live in.

#include <memory>

#include "engine/graph/graph.h"
#include "engine/plan/memory_planner.h"
#include "engine/plan/placement.h"
#include "kernels/device.h"

namespace macadam {

/// Memory for the arenas of plans that never run at once: it is as large as the largest's when that
/// is the first to ask.
class ArenaMemory {
 public:
  explicit ArenaMemory(Device device) : device_(device) {}

  /// What the last one got where it suffices, else new memory.
  std::shared_ptr<const Buffer> request(size_t bytes);

 private:
  Device device_;
  std::shared_ptr<const Buffer> memory_;
};

class Arena {
 public:
  Arena() = default;
  /// Memory for the blocks of `layout`, whose tensors are of that dtype.
  Arena(const PlanLayout& layout, DType dtype, ArenaMemory& memory, Device device);

  size_t bytes() const { return placement_.arena; }
  /// What it lies in.
  const std::shared_ptr<const Buffer>& memory() const { return memory_; }
  /// The most bytes that are alive at once.
  size_t peak() const { return placement_.peak; }
  /// Where a block begins; null for -1.
  void* block(int id) const;
  /// Of a value, or of its gradient, of `graph`; null data without a place.
  Tensor tensor(const Place& place, const Graph& graph, Value v) const;
  /// The same of bytes that fill a block.
  Tensor bytes_in(int block, Shape shape) const;

 private:
  DType dtype_ = DType::f32;
  Device device_;
  MemoryPlacement placement_;
  std::shared_ptr<const Buffer> memory_;
};

}  // namespace macadam
