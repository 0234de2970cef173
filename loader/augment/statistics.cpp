#include "loader/augment/statistics.h"

namespace macadam {

ImageStatistics statistics_of(std::span<const uint8_t> rgb) {
  ImageStatistics statistics;
  for (size_t i = 0; i + 2 < rgb.size(); i += 3) {
    for (size_t c = 0; c < 3; ++c) ++statistics.histogram[c][rgb[i + c]];
  }
  return statistics;
}

std::array<double, 3> channel_means(const ImageStatistics& statistics,
                                    const AugmentBuilder::Table& table) {
  std::array<double, 3> means{};
  for (size_t c = 0; c < 3; ++c) {
    uint64_t sum = 0, count = 0;
    for (size_t v = 0; v < 256; ++v) {
      const uint64_t times = statistics.histogram[c][v];
      sum += times * table[c][v];
      count += times;
    }
    if (count > 0) means[c] = static_cast<double>(sum) / static_cast<double>(count);
  }
  return means;
}

}  // namespace macadam
