#pragma once
// A slot as the loader's ring has them: memory that a device copies from without staging, filled
// anew as soon as a step has taken its batch. And augmentation programs to put there.

#include <cmath>
#include <cstring>
#include <vector>

#include "base/to_size.h"
#include "engine/input/batch.h"
#include "kernels/device.h"
#include "tests/engine/hashed.h"

namespace macadam::testing {

/// What program() needs at most.
constexpr AugmentLimits kProgramLimits{.bytes = 4096, .stages = 2, .blur = 5, .equalize_tiles = 4};

/// Geometry, pixel operations and stages, as `key` says.
inline AugmentBuilder program(uint32_t key, int height, int width) {
  AugmentBuilder b(height, width);
  b.fill({10, 20, 30}, 255);
  if (key % 2 == 1) b.mirror();
  if (key % 3 != 0) {
    const float angle = hashed_uniform(key, 1, 0.5f), zoom = 1 + hashed_uniform(key, 2, 0.3f);
    const float c = zoom * std::cos(angle), s = zoom * std::sin(angle);
    b.affine({c, -s, hashed_uniform(key, 3, 4), s, c, 2},
             key % 3 == 1 ? Border::constant : Border::reflect);
    b.radial(hashed_uniform(key, 4, 0.2f), static_cast<float>(width) / 2,
             static_cast<float>(height) / 2, Border::reflect);
  }
  AugmentBuilder::Table darker;
  for (auto& channel : darker) {
    for (size_t v = 0; v < channel.size(); ++v) channel[v] = static_cast<uint8_t>(v * v / 255);
  }
  b.table(darker);
  b.noise(0, 9, key % 2 == 0, {key, 5});
  if (key % 4 != 0) b.blur(key % 4 == 1 ? 3 : 5);
  b.hsv(7, -20, 10);
  b.hole(2, 3, 5, 6, {200, 100, 0}, 1);
  if (key % 5 == 0) b.equalize(2, 2, 2);
  require(b.within(kProgramLimits), "a program within the limits");
  return b;
}

class LoaderSlot {
 public:
  /// For batches of `images` on `device`.
  LoaderSlot(Device device, const Shape& images)
      : pixels_(to_size(images.pixels())),
        samples_(to_size(images.n)),
        memory_(Buffer::host_for(device, samples_ * kProgramLimits.bytes + 4 * pixels_)) {}

  /// A copy of the batch in here; with its programs, if it has any.
  Batch fill(const Batch& batch) {
    Batch here = batch;
    std::memcpy(images(), batch.images.data, 3 * pixels_);
    std::memcpy(labels(), batch.labels.data, pixels_);
    here.images.data = images();
    here.labels.data = labels();
    if (batch.programs.data != nullptr) {
      require(batch.programs.limits == kProgramLimits, "programs of program()");
      std::memcpy(programs(), batch.programs.data, samples_ * kProgramLimits.bytes);
      here.programs.data = programs();
    }
    return here;
  }

  /// Overwrites everything, with another batch that may be read.
  void refill() {
    std::memset(images(), 0x5A, 3 * pixels_);
    std::memset(labels(), 0, pixels_);
    for (size_t i = 0; i < samples_; ++i) {
      AugmentBuilder(1, 1).write({programs() + i * kProgramLimits.bytes, kProgramLimits.bytes});
    }
  }

 private:
  std::byte* programs() const { return memory_.data(); }
  std::byte* images() const { return programs() + samples_ * kProgramLimits.bytes; }
  std::byte* labels() const { return images() + 3 * pixels_; }

  size_t pixels_, samples_;
  Buffer memory_;
};

}  // namespace macadam::testing
