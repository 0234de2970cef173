#pragma once
// What concerns the simulated device as a whole, not one of its streams.

#include <string>

namespace macadam::simulated {

/// What cuDNN may do when it makes a plan or loads code: synchronise the device. Throws RunError,
/// and spoils the recordings, when a thread records a graph. Nothing is waited for: nobody may rely
/// on that.
void may_synchronize(const std::string& call);

}  // namespace macadam::simulated
