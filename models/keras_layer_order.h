#pragma once
// The order in which Keras lists, and saves, the layers of a functional model.

#include <vector>

#include "engine/graph/graph.h"

namespace macadam {

/// Indices of a graph's nodes: those farther from the output first; of those equally far the ones
/// first that a walk from the output to the inputs meets first. Keras makes layers in another order
/// where a network branches (keras.src.models.functional.map_graph_network).
std::vector<size_t> keras_layer_order(const Graph& graph);

}  // namespace macadam
