#pragma once
// The random numbers of one street: a Philox stream keyed on (seed, index).

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/to_size.h"
#include "kernels/scalar/philox.h"
#include "synth/math.h"

namespace macadam::synth {

class Random {
 public:
  Random(uint64_t seed, uint64_t index)
      : key0_(static_cast<uint32_t>(seed)),
        key1_(static_cast<uint32_t>(seed >> 32)),
        index0_(static_cast<uint32_t>(index)),
        index1_(static_cast<uint32_t>(index >> 32)) {}

  uint32_t bits() {
    if (used_ == 4) {
      block_ = scalar::philox({{count_++, 0, index0_, index1_}}, key0_, key1_);
      used_ = 0;
    }
    return block_.word[used_++];
  }

  /// In [0, 1).
  float uniform() { return scalar::uniform(bits()); }
  float uniform(float lo, float hi) { return lo + (hi - lo) * uniform(); }

  /// In [lo, hi], both included.
  int integer(int lo, int hi) {
    const uint64_t span = static_cast<uint64_t>(hi - lo) + 1;
    return lo + static_cast<int>((span * bits()) >> 32);
  }

  bool chance(float probability) { return uniform() < probability; }

  /// About normal, with mean 0 and standard deviation 1, within +-3.5 (a sum of four uniforms).
  float normal() { return (uniform() + uniform() + uniform() + uniform() - 2.0f) * 1.7320508f; }

  template <class T, size_t N>
  const T& pick(const std::array<T, N>& values) {
    return values[to_size(integer(0, static_cast<int>(N) - 1))];
  }

  /// One of the colours, lighter or darker. (Two draws in one expression would have no fixed
  /// order.)
  template <size_t N>
  Rgb tint(const std::array<Rgb, N>& palette, float lo, float hi) {
    const Rgb base = pick(palette);
    return base * uniform(lo, hi);
  }

 private:
  uint32_t key0_, key1_, index0_, index1_;
  uint32_t count_ = 0;
  int used_ = 4;
  scalar::PhiloxBlock block_{};
};

}  // namespace macadam::synth
