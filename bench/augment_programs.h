#pragma once
// Augmentation programs of fixed parameters, for the timing of AugmentOps::augment.

#include <cstddef>
#include <vector>

#include "kernels/augment_program.h"
#include "kernels/tensor.h"

namespace macadam::bench {

/// What the programs of a batch do.
enum class AugmentList {
  plain,  // every other sample mirrored; brightness
  half,   // half of the samples mirrored, warped, blurred, noisy, recoloured: not the same half
  full,   // all samples all of it
};

struct BatchPrograms {
  std::vector<std::byte> bytes;  // one after the other
  AugmentLimits limits;
};

/// Warps are by turns affine, a grid's, radial and a field's.
BatchPrograms make_programs(AugmentList list, const Shape& images);

}  // namespace macadam::bench
