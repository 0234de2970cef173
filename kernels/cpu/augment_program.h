#pragma once
// Augmentation programs on the CPU.

#include "kernels/augment.h"

namespace macadam::cpu {

/// AugmentOps::augment.
void augment(const Tensor& images, const Tensor& labels, const AugmentPrograms& programs,
             const Normalization& normalization, std::byte* scratch, const Tensor& x,
             const Tensor& out);

}  // namespace macadam::cpu
