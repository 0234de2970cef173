#pragma once
// Channels as the plans of 16 bits store them.

#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "kernels/tensor.h"

namespace macadam::bench {

/// How many channels a tensor has, and in the memory of how many it lies.
struct Channels {
  int count, stored;

  /// What the names of the cases end in.
  std::string suffix() const { return stored == count ? "" : fmt::format("/in:{}", stored); }
};

// Of a plan in 16 bits with 19 classes.
constexpr Channels kPaddedImages{3, 8}, kPaddedScores{19, 24};

/// Those of `counts`, and `padded` where training pads channels: in 16 bits.
inline std::vector<Channels> stored_channels(std::initializer_list<int> counts, Channels padded,
                                             DType dtype) {
  std::vector<Channels> all;
  for (const int count : counts) all.push_back({count, count});
  if (size_of(dtype) == 2) all.push_back(padded);
  return all;
}

}  // namespace macadam::bench
