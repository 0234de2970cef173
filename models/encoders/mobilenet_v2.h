#pragma once
// MobileNetV2's table (Sandler et al., 2018, table 2), which PyTorch's and Keras' networks share.

#include <array>

namespace macadam {

/// Inverted residuals one after another, the first of them with the stride.
struct MobileNetV2Stage {
  int expansion, channels, blocks, stride;
};

inline constexpr std::array<MobileNetV2Stage, 7> kMobileNetV2Stages{{{1, 16, 1, 1},
                                                                     {6, 24, 2, 2},
                                                                     {6, 32, 3, 2},
                                                                     {6, 64, 4, 2},
                                                                     {6, 96, 3, 1},
                                                                     {6, 160, 3, 2},
                                                                     {6, 320, 1, 1}}};

}  // namespace macadam
