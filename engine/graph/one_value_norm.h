#pragma once
// What batch normalization cannot be trained on.

#include <string>

#include "engine/graph/graph.h"

namespace macadam {

/// The first batch norm that a batch of the graph's size gives one value a channel, as behind a
/// mean over an image alone; frozen ones apart. What it gives is its shift whatever it sees, and
/// its running variance goes to 0 (PyTorch refuses it as well). "" where there is none.
std::string norm_of_one_value(const Graph& graph);

}  // namespace macadam
