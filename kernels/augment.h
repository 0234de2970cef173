#pragma once
// From decoded bytes to what the network reads: flip and normalisation in one pass.

#include <array>
#include <cstdint>

#include "kernels/tensor.h"

namespace macadam {

/// x = (byte * range / 255 - mean) / std for each channel, in the order in which the network reads
/// them: R, G, B, or B, G, R with `bgr`.
struct Normalization {
  std::array<float, 3> mean{0.485f, 0.456f, 0.406f};
  std::array<float, 3> std{0.229f, 0.224f, 0.225f};
  float range = 1;  // what a byte of 255 stands for: 1 (torchvision), 255 (caffe)
  bool bgr = false;

  bool operator==(const Normalization&) const = default;
};

class AugmentOps {
 public:
  virtual ~AugmentOps() = default;

  /// images: u8 NxHxWx3, RGB. flips: N bytes in device memory, non-zero mirrors that sample
  /// left-right; null mirrors none. x: floating point, shape of images.
  virtual void prepare_images(const Tensor& images, const uint8_t* flips,
                              const Normalization& normalization, const Tensor& x) = 0;
  /// labels, out: u8 NxHxWx1, not the same memory.
  virtual void prepare_labels(const Tensor& labels, const uint8_t* flips, const Tensor& out) = 0;
};

}  // namespace macadam
