#pragma once
// What the loader hands to training and evaluation: decoded samples of one size in host memory.

#include <cstdint>
#include <span>

#include "kernels/augment_program.h"
#include "kernels/tensor.h"

namespace macadam {

/// A view of one filled slot of the loader's ring. The memory is pinned when the loader serves a
/// CUDA device, and stays valid and unchanged until the slot is released.
/// A last batch that is not full is padded to the same shapes: images 0, labels 255 (ignored),
/// samples -1, and programs that change nothing.
struct Batch {
  int64_t epoch = 0;
  int64_t index = 0;  // position in the epoch
  int n = 0;          // valid samples, at most images.shape.n

  Tensor images;                 // u8 NxHxWx3, RGB
  Tensor labels;                 // u8 NxHxWx1, train labels of the label set, 255 = ignore
  AugmentPrograms programs;      // N of them, or none
  std::span<const int> samples;  // N indices into the data set's split
  /// N bytes, or none: non-zero says that the sample is to be had from the device's cache, and not
  /// here.
  const uint8_t* cached = nullptr;
};

}  // namespace macadam
