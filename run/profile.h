#pragma once
// How a profile is shown.

#include <string>

#include "engine/train/step_profile.h"

namespace macadam {

/// A table with a line a layer: times of its passes, share of the step, rates, and how near it
/// comes to what its bytes or its arithmetic take at the least; then the sums by kind of layer.
std::string profile_table(const StepProfile& profile);

/// The last measured step in Chrome's trace format (chrome://tracing, Perfetto).
std::string chrome_trace(const StepProfile& profile);

}  // namespace macadam
