#pragma once
// Weights, images and labels by a rule that tests/golden/make_network_goldens.py follows too, so
// that no weight file need be kept: SplitMix64 (Steele et al., 2014) of the name's hash.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/plan/parameters.h"

namespace macadam::testing {

/// 64 random bits for element `i` of what is called `name`.
uint64_t rule_bits(std::string_view name, uint64_t i);
/// The same as a number in [-1, 1) with 24 bits.
double rule_number(std::string_view name, uint64_t i);

/// The values of a parameter in the layout of files. `gain` scales convolution weights: below 1 it
/// keeps deep networks well conditioned. `norm_shift` is added to norms' biases: above 0 most
/// values pass the ReLU that follows, and rounding decides for few.
std::vector<float> rule_values(const ParameterSpec& spec, double gain = 1, double norm_shift = 0);
/// Fills all parameters.
void set_rule_values(Parameters& parameters, double gain = 1, double norm_shift = 0);

/// An NHWC image, values in [-2, 2).
std::vector<float> rule_image(Shape shape);
/// Labels below 8, every 17th ignored.
std::vector<uint8_t> rule_labels(int64_t pixels);

}  // namespace macadam::testing
