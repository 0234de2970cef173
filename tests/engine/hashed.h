#pragma once
// Numbers that are a pure function of their position: the same here, in every run, and in
// tests/golden/make_unet_mini_golden.py.

#include <cmath>
#include <cstdint>
#include <vector>

#include "base/to_size.h"
#include "engine/plan/parameters.h"

namespace macadam::testing {

/// Wellons' lowbias32 of index + stream * golden ratio.
inline uint32_t hashed(uint32_t stream, uint32_t index) {
  uint32_t x = index + stream * 0x9E3779B9u;
  x = (x ^ (x >> 16)) * 0x7FEB352Du;
  x = (x ^ (x >> 15)) * 0x846CA68Bu;
  return x ^ (x >> 16);
}

/// Uniform in [-limit, limit).
inline float hashed_uniform(uint32_t stream, uint32_t index, float limit) {
  return (static_cast<float>(hashed(stream, index) >> 8) * 0x1p-23f - 1.0f) * limit;
}

/// Gives parameter number p the numbers of stream p in the layout of files: convolution weights
/// within +-sqrt(6 / fan_in), scales and variances within 1 +- 0.5 (1 where fixed), everything else
/// within +-0.1.
inline void set_hashed_values(Parameters& parameters) {
  for (size_t p = 0; p < parameters.size(); ++p) {
    const ParameterSpec& spec = parameters.specs()[p];
    float center = 0, limit = 0.1f;
    if (spec.role == ParameterRole::conv_weight) {
      limit = static_cast<float>(
          std::sqrt(6.0 / static_cast<double>(spec.shape.elements() / spec.shape.n)));
    } else if (spec.role == ParameterRole::fixed_scale) {
      center = 1;
      limit = 0;
    } else if (spec.role == ParameterRole::norm_scale || spec.role == ParameterRole::running_var) {
      center = 1;
      limit = 0.5f;
    }
    std::vector<float> values(to_size(spec.shape.elements()));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] =
          center + hashed_uniform(static_cast<uint32_t>(p), static_cast<uint32_t>(i), limit);
    }
    parameters.write(p, Parameters::Field::value, values);
  }
}

}  // namespace macadam::testing
