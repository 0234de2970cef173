#pragma once
// Rows of RGB bytes, mirrored.

#include <cstdint>
#include <cstring>

namespace macadam::cpu {

/// Copies `count` >= 1 pixels of three bytes, the first of which is `first` and each next one lies
/// before it. Four bytes a move: half the time of three single ones.
inline void reverse_pixels(const uint8_t* first, int count, uint8_t* to) {
  // Neither the byte behind the first pixel nor the one behind the last copy is touched.
  std::memcpy(to, first, 3);
  for (int i = 1; i < count - 1; ++i) std::memcpy(to + 3 * i, first - 3 * i, 4);
  const int last = 3 * (count - 1);
  std::memcpy(to + last, first - last, 3);
}

}  // namespace macadam::cpu
