#pragma once
// Augmentation programs, one operation on the whole image after the other.

#include "kernels/augment.h"

namespace macadam::reference {

/// AugmentOps::augment; needs no scratch.
void augment(const Tensor& images, const Tensor& labels, const AugmentPrograms& programs,
             const Normalization& normalization, const Tensor& x, const Tensor& out);

}  // namespace macadam::reference
