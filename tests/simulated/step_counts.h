#pragma once
// The counts of a network's training step, by the registry's name.

#include <string>

#include "kernels/tensor.h"
#include "tests/simulated/counting.h"

namespace macadam::simulated {

struct StepCounts {
  int64_t launches = 0;  // of the compute stream, copies of the step's state and loss among them
  Tallies tallies;       // by kind of op, without those copies
};

/// Of `network` with 8 classes on a batch of this shape: cross-entropy (the default of the
/// benchmarks), AdamW. Everything is chosen as on a GPU.
StepCounts count_step(const std::string& network, Shape images, DType dtype);

}  // namespace macadam::simulated
