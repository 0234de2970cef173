#pragma once
// From decoded bytes to what the network reads: a program of transforms, or none, and
// normalisation.

#include <array>
#include <cstdint>

#include "kernels/augment_program.h"
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

  /// images: u8 NxHxWx3, RGB. mirrored: left and right change places in all of them. x: floating
  /// point, shape of images; its spare channels stay as they are or become 0.
  virtual void prepare_images(const Tensor& images, bool mirrored,
                              const Normalization& normalization, const Tensor& x) = 0;

  /// Carries out one program a sample; image and label move by the same positions, the label to the
  /// nearest pixel. images: u8 NxHxWx3, RGB; labels: u8 NxHxWx1. programs and scratch lie in device
  /// memory; scratch holds augment_scratch_bytes. x, out: as above; normalisation comes last.
  virtual void augment(const Tensor& images, const Tensor& labels, const AugmentPrograms& programs,
                       const Normalization& normalization, std::byte* scratch, const Tensor& x,
                       const Tensor& out) = 0;
};

/// What AugmentOps::augment needs for images of this shape.
size_t augment_scratch_bytes(const Shape& images, const AugmentLimits& limits);

}  // namespace macadam
