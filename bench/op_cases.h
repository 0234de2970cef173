#pragma once
// The memory-bound ops that the benchmarks time, one table for every device.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/workbench.h"

namespace macadam::bench {

/// An op on tensors of its own, ready to be run again and again.
struct Call {
  std::function<void()> run;  // as long as the workbench lives
  size_t bytes = 0;           // the fewest that it must read and write
};

struct OpCase {
  std::string name;          // "nearest/slice:1"
  bool elementwise = false;  // an output depends on one element of each input, and on sums at most
  std::function<Call(Workbench&)> make;
};

/// Of the image. Feature maps have 32 channels at its size, 64 at half of it.
struct Extents {
  int batch = 1, height = 1, width = 1;
  int64_t parameters = 0;  // of the network that the optimisers update
};

/// Activations are of `dtype`.
std::vector<OpCase> op_cases(const Extents& extents, DType dtype);

}  // namespace macadam::bench
