#pragma once
// What the loader hands to training and evaluation: decoded samples of one size in host memory.

#include <cstdint>
#include <span>

#include "kernels/tensor.h"

namespace macadam {

/// A view of one filled slot of the loader's ring. The memory is pinned when the loader serves a
/// CUDA device, and stays valid and unchanged until the slot is released.
/// A last batch that is not full is padded to the same shapes: images 0, labels 255 (ignored),
/// flips 0, samples -1.
struct Batch {
  int64_t epoch = 0;
  int64_t index = 0;  // position in the epoch
  int n = 0;          // valid samples, at most images.shape.n

  Tensor images;                   // u8 NxHxWx3, RGB
  Tensor labels;                   // u8 NxHxWx1, train labels of the label set, 255 = ignore
  const uint8_t* flips = nullptr;  // N bytes: non-zero mirrors that sample left-right
  std::span<const int> samples;    // N indices into the data set's split
};

}  // namespace macadam
