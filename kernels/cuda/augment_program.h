#pragma once
// AugmentOps::augment on a GPU.

#include "kernels/augment.h"
#include "kernels/device.h"

namespace macadam::cuda {

/// Queues the programs of a batch. Arguments: as of AugmentOps::augment; images, labels and out are
/// dense.
void augment_programs(Stream& stream, const Tensor& images, const Tensor& labels,
                      const AugmentPrograms& programs, const Normalization& normalization,
                      std::byte* scratch, const Tensor& x, const Tensor& out);

}  // namespace macadam::cuda
