#pragma once
// A procedural street: a photograph and its labels from two numbers. It needs no download and never
// runs out, and it is hard enough that a network has to learn shapes and context.

#include <cstdint>
#include <vector>

namespace macadam {

struct SynthScene {
  int height = 0, width = 0;
  std::vector<uint8_t> rgb;     ///< height x width x 3
  std::vector<uint8_t> labels;  ///< height x width, Cityscapes ids
};

/// Renders street `index` of the series `seed`. A pure function: the same bits on every machine, on
/// any number of threads. Requires height and width in [16, 4096].
SynthScene render_street(int height, int width, uint64_t seed, uint64_t index);

}  // namespace macadam
