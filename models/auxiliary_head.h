#pragma once
// A second head upon deeper features, whose loss training adds to that of the class scores: the
// gradient has a shorter way there (Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017).

#include <string_view>

#include "models/network.h"

namespace macadam {

/// Parameters of such a head begin with it.
inline constexpr std::string_view kAuxiliaryPrefix = "auxiliary.";

/// The option of every network.
inline constexpr NetworkOption kAuxiliaryOption{
    "auxiliary", "0",
    "weight of the loss of a head upon the last features of an eighth of the image's size, or of "
    "the smallest above; training alone computes it; 0: there is none"};
/// The same of a network that has such a head of its authors' (NetworkParts::auxiliary).
inline constexpr NetworkOption kOwnAuxiliaryOption{
    kAuxiliaryOption.key, kAuxiliaryOption.default_value,
    "weight of the loss of the authors' auxiliary head; training alone computes it; 0: there is "
    "none"};

/// The option's value, 0 to 10; throws InputError otherwise.
float auxiliary_weight(const NetworkSpec& spec);

/// A 3x3 convolution to a quarter of the channels, batch norm, ReLU, dropout of 0.1, class scores,
/// up-sampled bilinearly to the size of the output. Requires that the output is declared.
void add_auxiliary_head(Graph& g, int classes, float weight);

}  // namespace macadam
