#pragma once
// Photos of noise.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/to_size.h"
#include "tests/engine/hashed.h"

namespace macadam::testing {

struct Photo {
  int height = 0, width = 0;
  std::vector<uint8_t> rgb;
};

/// What it shows depends on `seed` alone.
inline Photo photo(int height, int width, uint32_t seed) {
  Photo p{height, width, std::vector<uint8_t>(to_size(height * width * 3))};
  for (size_t i = 0; i < p.rgb.size(); ++i) {
    p.rgb[i] = static_cast<uint8_t>(hashed(seed, static_cast<uint32_t>(i)) >> 24);
  }
  return p;
}

}  // namespace macadam::testing
