#pragma once
// The cases of what is computed of the class scores in training.

#include <vector>

#include "bench/op_cases.h"

namespace macadam::bench {

/// Losses, each of their terms alone, and distillation.
void add_loss_cases(const Extents& extents, DType dtype, std::vector<OpCase>& cases);

}  // namespace macadam::bench
