#pragma once
// A convolution, ready to be timed in one of its directions.

#include <array>
#include <string>

#include "bench/op_cases.h"

namespace macadam::bench {

constexpr std::array<const char*, 3> kConvolutionDirections{"forward", "backward_data",
                                                            "backward_weights"};

/// `direction` is one of the above; those backwards require desc.backward.
Call convolution_call(Workbench& workbench, const ConvDesc& desc, const std::string& direction);

}  // namespace macadam::bench
