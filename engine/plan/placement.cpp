#include "engine/plan/placement.h"

#include <algorithm>

#include "base/to_size.h"

namespace macadam {

namespace {

size_t index(Value v) { return to_size(v.id); }

/// Builds a PlanLayout. Time runs -1 (weights are packed), 0 (the input is written), 1..N (forward
/// of node 0..N-1), N+1 (loss), N+2..2N+1 (backward of node N-1..0).
class LayoutBuilder {
 public:
  LayoutBuilder(const Graph& graph, std::span<const LayerNeeds> needs, const LayoutOptions& options)
      : graph_(graph), needs_(needs), options_(options), nodes_(graph.nodes().size()) {
    const auto values = to_size(graph.values());
    readers_.assign(values, 0);
    layout_.values.resize(values);
    layout_.gradients.resize(values);
    layout_.requires_gradient = options.requires_gradient;
    layout_.joined_pools.assign(nodes_, -1);
    layout_.only_pooled.assign(nodes_, false);
    layout_.saved.assign(nodes_, -1);
    layout_.forward_workspace.assign(nodes_, -1);
    layout_.backward_workspace.assign(nodes_, -1);
    for (const Node& node : graph.nodes()) {
      layout_.accumulate.emplace_back(node.inputs.size(), false);
      for (Value v : node.inputs) ++readers_[index(v)];
    }
    backward_node_.resize(nodes_);
    std::vector<size_t> makers(values, 0);
    for (size_t i = 0; i < nodes_; ++i) {
      const Node& node = graph.nodes()[i];
      makers[index(node.output)] = backward_node_[i] = i;
      if (!is_joined(node.layer)) continue;
      backward_node_[i] = makers[index(node.inputs[0])];
      layout_.joined_pools[backward_node_[i]] = static_cast<int>(i);
    }
  }

  PlanLayout build() {
    place_values();
    extend_values();
    place_scratch();
    if (options_.training) place_gradients();
    return std::move(layout_);
  }

 private:
  static constexpr int kPackTime = -1;
  int forward_time(size_t node) const { return 1 + static_cast<int>(node); }
  int loss_time() const { return static_cast<int>(nodes_) + 1; }
  /// Of the node that takes this one's gradient.
  int backward_time(size_t node) const {
    return 2 * static_cast<int>(nodes_) + 1 - static_cast<int>(backward_node_[node]);
  }
  int last_time() const { return options_.training ? backward_time(0) : loss_time(); }

  int add_block(size_t bytes, int first, int last) {
    layout_.blocks.push_back({bytes, first, last});
    return static_cast<int>(layout_.blocks.size()) - 1;
  }
  void extend(const Place& place, int first, int last) {
    MemoryBlock& block = layout_.blocks[to_size(place.block)];
    block.first = std::min(block.first, first);
    block.last = std::max(block.last, last);
  }
  void extend(const Place& place, int time) { extend(place, time, time); }
  Place new_place(Value v, int time) {
    const int channels = graph_.stored_channels(v);
    const auto elements = to_size(graph_.shape(v).pixels() * channels);
    return {add_block(elements * options_.element_bytes, time, time), 0, channels};
  }

  /// Backwards through the nodes, so that a concatenation is placed before its inputs, which are
  /// then written straight into it where their layer can and all that read them can as well.
  void place_values() {
    for (size_t i = nodes_; i-- > 0;) {
      const Node& node = graph_.nodes()[i];
      Place& out = layout_.values[index(node.output)];
      if (!out.placed()) out = new_place(node.output, forward_time(i));
      if (!std::holds_alternative<ConcatLayer>(node.layer)) continue;
      int channel = 0;
      for (Value v : node.inputs) {
        if (!layout_.values[index(v)].placed() && fits_slice(v)) {
          layout_.values[index(v)] = {out.block, out.first_channel + channel, out.pixel_stride};
        }
        channel += graph_.shape(v).c;
      }
    }
    place_inputs();
  }

  void place_inputs() {
    const bool padded = graph_.stored_channels(graph_.input()) != graph_.shape(graph_.input()).c;
    for (int i = 0; i < options_.inputs; ++i) {
      const Place input = new_place(graph_.input(), 0);
      layout_.inputs.push_back(input);
      if (padded || options_.inputs > 1) extend(input, kPackTime, last_time());
      if (options_.labels_bytes == 0) continue;
      layout_.labels.push_back(
          add_block(options_.labels_bytes, options_.inputs > 1 ? kPackTime : 0, last_time()));
    }
    layout_.values[0] = layout_.inputs[0];
  }

  /// Whether a value may be a channel slice: the layer that makes it and all that read it agree.
  bool fits_slice(Value v) const {
    if (v == graph_.input() || graph_.is_output(v)) return false;
    for (size_t i = 0; i < nodes_; ++i) {
      const Node& node = graph_.nodes()[i];
      if (node.output == v && !needs_[i].writes_slices) return false;
      const bool reads = std::find(node.inputs.begin(), node.inputs.end(), v) != node.inputs.end();
      if (reads && !needs_[i].reads_slices) return false;
    }
    return true;
  }

  void extend_values() {
    for (size_t i = 0; i < nodes_; ++i) {
      const Node& node = graph_.nodes()[i];
      const Place& out = layout_.values[index(node.output)];
      extend(out, forward_time(i));
      const bool read_later = options_.training && needs_[i].backward_reads_output;
      if (read_later) extend(out, backward_time(i));
      for (size_t k = 0; k < node.inputs.size(); ++k) {
        const Place& in = layout_.values[index(node.inputs[k])];
        extend(in, forward_time(i));
        const bool reads =
            needs_[i].backward_reads_input || (k == 0 && needs_[i].backward_reads_first);
        if (options_.training && reads) extend(in, backward_time(i));
      }
    }
    extend(layout_.values[index(graph_.output())], loss_time());
    for (const AuxiliaryOutput& output : graph_.auxiliary_outputs()) {
      extend(layout_.values[index(output.value)], loss_time());
    }
  }

  void place_scratch() {
    if (options_.pack_workspace_bytes > 0) {
      layout_.pack_workspace = add_block(options_.pack_workspace_bytes, kPackTime, kPackTime);
    }
    for (size_t i = 0; i < nodes_; ++i) {
      const int t = forward_time(i);
      const Value out = graph_.nodes()[i].output;
      const bool slice = layout_.values[index(out)].pixel_stride != graph_.shape(out).c;
      if (const size_t bytes = needs_[i].forward.total(slice, false)) {
        layout_.forward_workspace[i] = add_block(bytes, t, t);
      }
      if (const size_t bytes = needs_[i].saved) {
        layout_.saved[i] = add_block(bytes, t, options_.training ? backward_time(i) : t);
      }
    }
    if (options_.labels_bytes > 0) {
      layout_.loss_workspace = add_block(options_.loss_workspace_bytes, loss_time(), loss_time());
    }
  }

  void place_gradients() {
    place_output_gradient(graph_.output(), options_.keeps_scores);
    for (const AuxiliaryOutput& output : graph_.auxiliary_outputs()) {
      place_output_gradient(output.value, false);
    }
    for (size_t i = nodes_; i-- > 0;) {
      const Node& node = graph_.nodes()[i];
      const int t = backward_time(i);
      place_joined(i);
      const Place dy = layout_.gradients[index(node.output)];
      if (!dy.placed()) continue;  // nothing that is trained depends on it
      extend(dy, t);
      if (backward_node_[i] != i) continue;
      const bool concat = std::holds_alternative<ConcatLayer>(node.layer);
      bool accumulates = false;
      // Its own layer is the last to read it.
      const bool reusable =
          needs_[i].backward_in_place && dy.pixel_stride == graph_.shape(node.output).c;
      const size_t heir = reusable ? heir_of(i) : node.inputs.size();
      int channel = 0;
      for (size_t k = 0; k < node.inputs.size(); ++k) {
        const Value v = node.inputs[k];
        Place& dx = layout_.gradients[index(v)];
        if (layout_.requires_gradient[index(v)]) {
          if (dx.placed()) {
            layout_.accumulate[i][k] = true;
            accumulates = true;
          } else if (concat) {
            dx = {dy.block, dy.first_channel + channel, dy.pixel_stride};
          } else if (k == heir) {
            dx = dy;
          } else {
            dx = new_place(v, t);
          }
          extend(dx, t);
        }
        channel += graph_.shape(v).c;
      }
      const bool slice = dy.pixel_stride != graph_.shape(node.output).c;
      if (const size_t bytes = needs_[i].backward.total(slice, accumulates)) {
        layout_.backward_workspace[i] = add_block(bytes, t, t);
      }
    }
  }

  /// The input of node i whose gradient is made in the memory of the output's; none: their number.
  size_t heir_of(size_t i) const {
    const std::vector<Value>& inputs = graph_.nodes()[i].inputs;
    const auto open = [&](size_t k) {
      const size_t v = index(inputs[k]);
      return layout_.requires_gradient[v] && !layout_.gradients[v].placed();
    };
    if (open(needs_[i].in_place_input)) return needs_[i].in_place_input;
    size_t k = 0;
    while (k < inputs.size() && !open(k)) ++k;
    return k;
  }

  /// A gradient's place for a node that gets it from the pooling joined to it alone.
  void place_joined(size_t i) {
    Place& dy = layout_.gradients[index(graph_.nodes()[i].output)];
    const int pool = layout_.joined_pools[i];
    if (dy.placed() || pool < 0) return;
    const Node& pooled = graph_.nodes()[to_size(pool)];
    if (!layout_.gradients[index(pooled.output)].placed()) return;
    dy = new_place(pooled.inputs[0], backward_time(i));
    layout_.only_pooled[i] = true;
  }

  /// The loss writes its gradient over the scores, unless these are kept, or some layer still reads
  /// what lies there: the scores, or a part of them where they are a concatenation.
  void place_output_gradient(Value out, bool kept) {
    bool scores_needed = kept || readers_[index(out)] > 0;
    for (size_t i = 0; i < nodes_; ++i) {
      const Place& place = layout_.values[index(graph_.nodes()[i].output)];
      if (place.block == layout_.values[index(out)].block) {
        scores_needed |= needs_[i].backward_reads_output;
      }
    }
    Place& gradient = layout_.gradients[index(out)];
    gradient = scores_needed ? new_place(out, loss_time()) : layout_.values[index(out)];
    extend(gradient, loss_time());
  }

  const Graph& graph_;
  std::span<const LayerNeeds> needs_;
  const LayoutOptions& options_;
  size_t nodes_;
  std::vector<int> readers_;
  std::vector<size_t> backward_node_;  // by node: which takes its gradient
  PlanLayout layout_;
};

}  // namespace

std::vector<bool> parameters_requiring_gradient(const Graph& graph,
                                                const std::vector<bool>& frozen) {
  std::vector<bool> required;
  for (size_t p = 0; p < graph.parameters().size(); ++p) {
    const bool stays = !frozen.empty() && frozen[p];
    required.push_back(graph.parameters()[p].trainable() && !stays);
  }
  return required;
}

std::vector<bool> values_requiring_gradient(const Graph& graph,
                                            const std::vector<bool>& parameters) {
  std::vector<bool> required(to_size(graph.values()), false);
  for (const Node& node : graph.nodes()) {
    bool any = std::any_of(node.parameters.begin(), node.parameters.end(),
                           [&](int p) { return parameters[to_size(p)]; });
    for (Value v : node.inputs) any = any || required[index(v)];
    required[index(node.output)] = any;
  }
  return required;
}

PlanLayout lay_out(const Graph& graph, std::span<const LayerNeeds> needs,
                   const LayoutOptions& options) {
  return LayoutBuilder(graph, needs, options).build();
}

}  // namespace macadam
