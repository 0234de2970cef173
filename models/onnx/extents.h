#pragma once
// Which values of a network have the same height and width whatever the size of the image.

#include <vector>

#include "engine/graph/graph.h"

namespace macadam {

/// For each value the first one that is sure to have its height and width.
std::vector<Value> same_extent(const Graph& graph);

}  // namespace macadam
