#pragma once
// Decides where every tensor of a plan lives: which values share memory, when each is alive, and
// its offset in the arena.

#include <span>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/graph/layer.h"
#include "engine/plan/memory_planner.h"

namespace macadam {

/// A tensor's place: a channel slice of a block.
struct Place {
  int block = -1;
  int first_channel = 0;
  int pixel_stride = 0;  // channels of the tensor that fills the block

  bool placed() const { return block >= 0; }
};

/// Everything that compiling a plan must know of memory. Indexed by value id or node position.
struct PlanLayout {
  std::vector<Place> values, gradients;
  std::vector<Place> inputs;                  // values[0], and where other batches are prepared
  std::vector<std::vector<bool>> accumulate;  // node, input: the gradient is added to
  std::vector<bool> requires_gradient;        // value
  std::vector<int> joined_pools;              // node: that of the pooling joined to it, or -1
  std::vector<bool> only_pooled;              // node: see Bindings
  std::vector<int> saved, forward_workspace, backward_workspace;  // node: block or -1
  std::vector<int> labels;                                        // by input; empty: no loss
  int loss_workspace = -1;                                        // block or -1
  int pack_workspace = -1;                                        // block or -1
  std::vector<MemoryBlock> blocks;
};

struct LayoutOptions {
  bool training = false;
  int inputs = 1;                       // at least 1
  std::vector<bool> requires_gradient;  // see values_requiring_gradient; training only
  size_t element_bytes = 4;
  size_t labels_bytes = 0;  // 0: no loss
  size_t loss_workspace_bytes = 0;
  size_t pack_workspace_bytes = 0;
  bool keeps_scores = false;  // the gradient of the output has memory of its own; training only
};

/// Which parameters get a gradient: the trained ones that are not `frozen` (by parameter; empty:
/// none is).
std::vector<bool> parameters_requiring_gradient(const Graph& graph,
                                                const std::vector<bool>& frozen);

/// Which values need gradients: those that depend on a parameter that gets one.
std::vector<bool> values_requiring_gradient(const Graph& graph,
                                            const std::vector<bool>& parameters);

/// `needs` are those of the layers of graph.nodes(), in order. A padded input (see pad_channels)
/// has its memory to itself: what lies between its pixels stays as it was when the plan was made.
/// So has each of several inputs: one is written while another is read.
PlanLayout lay_out(const Graph& graph, std::span<const LayerNeeds> needs,
                   const LayoutOptions& options);

}  // namespace macadam
