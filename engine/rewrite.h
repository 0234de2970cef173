#pragma once
// Graph rewrites: small passes, each a function from a graph to an equivalent one. Values and
// parameters keep their numbers, so that gradients and files do not notice.

#include "engine/graph.h"

namespace macadam {

/// Removes dropout (the identity when a network does not train).
Graph remove_dropout(const Graph& graph);

/// conv -> ReLU becomes one node wherever the ReLU is the only reader of the convolution; so do
/// batch norm -> ReLU and add -> ReLU.
Graph fuse_relu(const Graph& graph);

/// (conv + ReLU) -> dropout becomes one node wherever the dropout is the only reader. Run after
/// fuse_relu.
Graph fuse_dropout(const Graph& graph);

/// Batch norms of the layers whose names begin with `prefix` use their running statistics in
/// training (BatchNormDesc::frozen). Not an equivalent graph: a choice of how to train.
Graph freeze_batch_norms(const Graph& graph, std::string_view prefix);

}  // namespace macadam
