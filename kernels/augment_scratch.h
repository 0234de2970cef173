#pragma once
// How AugmentOps::augment divides its scratch memory, on every device alike.

#include "base/round_up.h"
#include "base/to_size.h"
#include "kernels/augment_program.h"
#include "kernels/scalar/host_device.h"
#include "kernels/tensor.h"

namespace macadam {

/// Two byte images of every sample, which stages leave to each other in turns, then the tables of
/// its equalisation. Offsets in bytes, multiples of 16.
class AugmentScratch {
 public:
  AugmentScratch(const Shape& images, const AugmentLimits& limits)
      : samples_(to_size(images.n)),
        image_bytes_(round_up(3 * to_size(images.h) * to_size(images.w), 16)),
        table_bytes_(round_up(256 * to_size(limits.equalize_tiles), 16)) {}

  /// What `stage` leaves to the next one.
  MACADAM_HD size_t image(int stage, int sample) const {
    return (to_size(stage & 1) * samples_ + to_size(sample)) * image_bytes_;
  }
  /// 256 bytes a tile.
  MACADAM_HD size_t tables(int sample) const {
    return 2 * samples_ * image_bytes_ + to_size(sample) * table_bytes_;
  }
  size_t bytes() const { return samples_ * (2 * image_bytes_ + table_bytes_); }

 private:
  size_t samples_, image_bytes_, table_bytes_;
};

}  // namespace macadam
