#pragma once
// This program's heap, watched: who allocates, and what fresh memory holds.

#include <cstdint>

namespace macadam::testing {

/// Allocations by the code that asked for them: the innermost frame of the call stack that belongs
/// to this program, to oneDNN or to the OpenMP run time. What the standard library or fmt allocate
/// thus counts for their caller.
struct Allocations {
  int64_t project = 0, onednn = 0, openmp = 0, unknown = 0;
};

/// Counts the allocations of all threads from its construction to stop().
class AllocationCount {
 public:
  AllocationCount();
  ~AllocationCount();
  AllocationCount(const AllocationCount&) = delete;
  AllocationCount& operator=(const AllocationCount&) = delete;
  Allocations stop();
};

/// While it lives, every byte of fresh Buffer memory on the CPU is `byte`: 0xFF makes floats NaN.
class FreshMemory {
 public:
  explicit FreshMemory(uint8_t byte);
  ~FreshMemory();
  FreshMemory(const FreshMemory&) = delete;
  FreshMemory& operator=(const FreshMemory&) = delete;
};

}  // namespace macadam::testing
