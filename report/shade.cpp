#include "report/shade.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace macadam {

namespace {

constexpr std::array<std::array<double, 3>, 6> kRamp = {{{255, 255, 255},
                                                         {222, 235, 247},
                                                         {158, 202, 225},
                                                         {88, 157, 206},
                                                         {33, 113, 181},
                                                         {8, 48, 107}}};

}  // namespace

Rgb blue_shade(double share) {
  const double place = std::clamp(share, 0.0, 1.0) * (kRamp.size() - 1);
  const size_t low = std::min(static_cast<size_t>(place), kRamp.size() - 2);
  const double t = place - static_cast<double>(low);
  Rgb color{};
  for (size_t c = 0; c < 3; ++c) {
    color[c] =
        static_cast<uint8_t>(std::lround(kRamp[low][c] + (kRamp[low + 1][c] - kRamp[low][c]) * t));
  }
  return color;
}

}  // namespace macadam
