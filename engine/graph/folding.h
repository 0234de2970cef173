#pragma once
// The weights of a convolution that rewrites put together of several layers: those of batch norms,
// and of branches that add up (fold_batch_norms and fold_branches in rewrite.h).

#include <cstddef>
#include <span>

#include "engine/graph/graph.h"
#include "kernels/ops.h"

namespace macadam {

/// Whether the weights of the layer are other than its first parameter.
inline bool folds_weights(const ConvLayer& layer) {
  return layer.folded_norm || !layer.branches.empty();
}

/// Bytes of memory that fold_weights() works in and leaves its results in. `weights`: the layer's,
/// {K, kh, kw, C / groups}.
size_t folding_bytes(const ConvLayer& layer, const Shape& weights);

struct WeightsAndBias {
  Tensor weights, bias;  // fp32
};

/// Of the node's parameters, in the order of Node::parameters, fp32 on the ops' device. Requires
/// folds_weights().
WeightsAndBias fold_weights(const ConvLayer& layer, const Shape& weights,
                            std::span<const Tensor> parameters, void* memory, Ops& ops);

}  // namespace macadam
