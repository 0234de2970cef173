#pragma once
// What transforms may ask about a photo before it is changed.

#include <array>
#include <cstdint>
#include <span>

#include "kernels/augment_program.h"

namespace macadam {

/// How often each byte occurs, by channel.
struct ImageStatistics {
  std::array<std::array<uint32_t, 256>, 3> histogram{};
};

/// rgb: interleaved bytes R, G, B.
ImageStatistics statistics_of(std::span<const uint8_t> rgb);

/// The means R, G, B of the photo after its bytes have gone through `table`; 0 without pixels.
std::array<double, 3> channel_means(const ImageStatistics& statistics,
                                    const AugmentBuilder::Table& table);

}  // namespace macadam
