#include "engine/graph/rewrite.h"

#include <algorithm>

#include "base/round_up.h"
#include "base/to_size.h"

namespace macadam {

namespace {

/// How many nodes read each value; the graph's outputs count as read once more.
std::vector<int> count_readers(const Graph& graph) {
  std::vector<int> readers(to_size(graph.values()), 0);
  for (const Node& node : graph.nodes()) {
    for (Value v : node.inputs) ++readers[to_size(v.id)];
  }
  if (graph.output().id >= 0) ++readers[to_size(graph.output().id)];
  for (const AuxiliaryOutput& output : graph.auxiliary_outputs()) {
    ++readers[to_size(output.value.id)];
  }
  return readers;
}

/// Folds each node that `absorb(producer, node)` accepts into the producer of its input, when it is
/// the only reader of that producer's output.
template <typename Absorb>
Graph fold_into_producer(const Graph& graph, Absorb absorb) {
  const std::vector<int> readers = count_readers(graph);
  std::vector<Node> nodes;
  for (const Node& node : graph.nodes()) {
    if (node.inputs.size() == 1 && readers[to_size(node.inputs[0].id)] == 1) {
      const auto producer = std::find_if(nodes.begin(), nodes.end(), [&](const Node& candidate) {
        return candidate.output == node.inputs[0];
      });
      if (producer != nodes.end() && absorb(*producer, node)) {
        producer->output = node.output;
        continue;
      }
    }
    nodes.push_back(node);
  }
  return graph.with_nodes(std::move(nodes), graph.output());
}

}  // namespace

Graph remove_auxiliary_outputs(const Graph& graph) {
  if (graph.auxiliary_outputs().empty()) return graph;
  const std::vector<Node>& all = graph.nodes();
  // Whether something that stays reads a value; and of what an auxiliary output alone is made.
  std::vector<bool> read(to_size(graph.values()), false), auxiliary(to_size(graph.values()), false);
  read[to_size(graph.output().id)] = true;
  for (const AuxiliaryOutput& output : graph.auxiliary_outputs()) {
    auxiliary[to_size(output.value.id)] = true;
  }
  std::vector<Node> nodes;
  for (size_t i = all.size(); i-- > 0;) {
    const size_t out = to_size(all[i].output.id);
    const bool goes = auxiliary[out] && !read[out];
    for (Value v : all[i].inputs) (goes ? auxiliary : read)[to_size(v.id)] = true;
    if (!goes) nodes.push_back(all[i]);
  }
  std::ranges::reverse(nodes);
  return graph.without_auxiliary_outputs().with_nodes(std::move(nodes), graph.output());
}

Graph remove_dropout(const Graph& graph) {
  std::vector<Value> stands_for(to_size(graph.values()));
  for (int i = 0; i < graph.values(); ++i) stands_for[to_size(i)] = Value{i};
  std::vector<Node> nodes;
  for (Node node : graph.nodes()) {
    for (Value& v : node.inputs) v = stands_for[to_size(v.id)];
    if (std::holds_alternative<DropoutLayer>(node.layer) ||
        std::holds_alternative<DropPathLayer>(node.layer)) {
      stands_for[to_size(node.output.id)] = node.inputs[0];
    } else {
      nodes.push_back(std::move(node));
    }
  }
  const Value output = graph.output();
  return graph.with_nodes(std::move(nodes),
                          output.id < 0 ? output : stands_for[to_size(output.id)]);
}

Graph fold_batch_norms(const Graph& graph) {
  return fold_into_producer(graph, [](Node& producer, const Node& node) {
    const auto* norm = std::get_if<BatchNormLayer>(&node.layer);
    auto* conv = std::get_if<ConvLayer>(&producer.layer);
    if (norm == nullptr || conv == nullptr || conv->folded_norm ||
        conv->activation != Activation::identity) {
      return false;
    }
    conv->folded_norm = norm->desc;
    producer.parameters.insert(producer.parameters.end(), node.parameters.begin(),
                               node.parameters.end());
    return true;
  });
}

namespace {

/// Branches that add up to a convolution.
class BranchFolder {
 public:
  explicit BranchFolder(const Graph& graph)
      : graph_(graph),
        readers_(count_readers(graph)),
        makers_(to_size(graph.values()), nullptr),
        absorbed_(to_size(graph.values()), false) {
    for (const Node& node : graph.nodes()) makers_[to_size(node.output.id)] = &node;
  }

  Graph fold() {
    std::vector<Node> nodes;
    const std::vector<Node>& all = graph_.nodes();
    // From the end, so that a sum is met before the sums that it adds.
    for (size_t i = all.size(); i-- > 0;) {
      if (absorbed_[to_size(all[i].output.id)]) continue;
      const std::optional<Node> folded = is_sum(all[i]) ? fold_sum(all[i]) : std::nullopt;
      nodes.push_back(folded ? *folded : all[i]);
    }
    std::ranges::reverse(nodes);
    return graph_.with_nodes(std::move(nodes), graph_.output());
  }

 private:
  /// One branch as far back as it goes.
  struct Found {
    ConvBranch branch;
    Value source;
    int stride = 1;
    std::vector<const Node*> nodes;  // the first layer first
  };

  static bool is_sum(const Node& node) {
    const auto* add = std::get_if<AddLayer>(&node.layer);
    return add != nullptr && add->factor == 1 && !add->relu;
  }
  /// The node that makes a value for one reader alone, or null.
  const Node* only_maker(Value v) const {
    return readers_[to_size(v.id)] == 1 ? makers_[to_size(v.id)] : nullptr;
  }

  /// What a sum and those within it add, from the left.
  void collect(const Node& sum, std::vector<Value>& terms, std::vector<const Node*>& sums) const {
    sums.push_back(&sum);
    for (Value v : sum.inputs) {
      const Node* maker = only_maker(v);
      if (maker != nullptr && is_sum(*maker)) {
        collect(*maker, terms, sums);
      } else {
        terms.push_back(v);
      }
    }
  }

  static bool is_linear(const Node* node) {
    const auto* conv = node == nullptr ? nullptr : std::get_if<ConvLayer>(&node->layer);
    return conv != nullptr && conv->groups == 1 && conv->dilation == 1 && conv->branches.empty() &&
           conv->kernel_h == conv->kernel_w && conv->kernel_h % 2 == 1 &&
           conv->padding == Padding::all(conv->kernel_h / 2) &&
           conv->activation == Activation::identity;
  }
  static bool is_pointwise(const Node* node) {
    if (!is_linear(node)) return false;
    const auto& conv = std::get<ConvLayer>(node->layer);
    return conv.kernel_h == 1 && conv.stride == 1;
  }

  std::optional<Found> find_branch(Value end) const {
    const Node* node = only_maker(end);
    if (node == nullptr) return std::nullopt;
    Found found;
    if (const auto* norm = std::get_if<BatchNormLayer>(&node->layer)) {
      if (norm->desc.activation != Activation::identity) return std::nullopt;
      found.branch = {{.out_channels = graph_.shape(end).c, .kernel = 0, .norm = norm->desc}};
      found.source = node->inputs[0];
      found.nodes = {node};
      return found;
    }
    while (is_linear(node)) {
      const auto& conv = std::get<ConvLayer>(node->layer);
      found.branch.insert(found.branch.begin(),
                          {conv.out_channels, conv.kernel_h, conv.bias, conv.folded_norm});
      found.nodes.insert(found.nodes.begin(), node);
      found.source = node->inputs[0];
      found.stride = conv.stride;
      // Behind another convolution only one of 1 x 1 is part of the branch.
      const Node* before = only_maker(node->inputs[0]);
      node = is_pointwise(node) && is_linear(before) ? before : nullptr;
    }
    return found.branch.empty() ? std::nullopt : std::optional(std::move(found));
  }

  std::optional<Node> fold_sum(const Node& root) {
    std::vector<Value> terms;
    std::vector<const Node*> sums;
    collect(root, terms, sums);
    std::vector<Found> branches;
    int kernel = 1;
    int64_t macs = 0;
    for (Value term : terms) {
      auto found = find_branch(term);
      if (!found) return std::nullopt;
      kernel = std::max(kernel, found->branch.front().kernel);
      for (const Node* node : found->nodes) macs += graph_.macs(*node);
      branches.push_back(std::move(*found));
    }
    Node folded = *branches.front().nodes.front();
    ConvLayer layer;
    layer.out_channels = graph_.shape(root.output).c;
    layer.kernel_h = layer.kernel_w = kernel;
    layer.stride = branches.front().stride;
    layer.padding = Padding::all(kernel / 2);
    layer.bias = false;
    folded.parameters.clear();
    for (const Found& found : branches) {
      const int own = found.branch.front().kernel;
      if (found.source != branches.front().source || found.stride != layer.stride ||
          (own > 1 && own != kernel)) {
        return std::nullopt;
      }
      layer.branches.push_back(found.branch);
      for (const Node* node : found.nodes) {
        folded.parameters.insert(folded.parameters.end(), node->parameters.begin(),
                                 node->parameters.end());
      }
    }
    folded.layer = layer;
    folded.inputs = {branches.front().source};
    folded.output = root.output;
    if (graph_.macs(folded) > macs) return std::nullopt;
    for (const Node* sum : sums) absorbed_[to_size(sum->output.id)] = true;
    for (const Found& found : branches) {
      for (const Node* node : found.nodes) absorbed_[to_size(node->output.id)] = true;
    }
    return folded;
  }

  const Graph& graph_;
  std::vector<int> readers_;
  std::vector<const Node*> makers_;  // by value
  std::vector<bool> absorbed_;       // by value, with its node
};

}  // namespace

Graph fold_branches(const Graph& graph) { return BranchFolder(graph).fold(); }

Graph for_inference(const Graph& graph) {
  return fold_branches(fold_batch_norms(remove_dropout(remove_auxiliary_outputs(graph))));
}

Graph fuse_squeeze_excite(const Graph& graph) {
  const std::vector<int> readers = count_readers(graph);
  std::vector<const Node*> makers(to_size(graph.values()), nullptr);
  for (const Node& node : graph.nodes()) makers[to_size(node.output.id)] = &node;
  const auto only_read = [&](Value v) { return readers[to_size(v.id)] == 1; };
  const auto maker_of = [&](const Node& node) {
    return only_read(node.inputs[0]) ? makers[to_size(node.inputs[0].id)] : nullptr;
  };
  // The convolution before `node`, if it is a matrix product with a bias.
  const auto product = [&](const Node& node) -> const Node* {
    const Node* maker = maker_of(node);
    const auto* conv = maker == nullptr ? nullptr : std::get_if<ConvLayer>(&maker->layer);
    if (conv == nullptr || conv->kernel_h != 1 || conv->kernel_w != 1 || conv->stride != 1 ||
        conv->groups != 1 || conv->padding != Padding{} || !conv->bias || conv->folded_norm ||
        conv->activation != Activation::identity) {
      return nullptr;
    }
    return maker;
  };

  std::vector<bool> absorbed(to_size(graph.values()), false);
  std::vector<std::pair<Value, Node>> fused;  // by the value of the gates
  for (const Node& node : graph.nodes()) {
    const auto* gate = std::get_if<ActivationLayer>(&node.layer);
    const Shape shape = graph.shape(node.output);
    if (gate == nullptr || shape.h * shape.w != 1 ||
        (gate->kind != Activation::sigmoid && gate->kind != Activation::hardsigmoid)) {
      continue;
    }
    const Node* excite = product(node);
    const Node* middle = excite == nullptr ? nullptr : maker_of(*excite);
    const auto* activation =
        middle == nullptr ? nullptr : std::get_if<ActivationLayer>(&middle->layer);
    const Node* squeeze = activation == nullptr ? nullptr : product(*middle);
    if (squeeze == nullptr || !only_read(squeeze->inputs[0]) ||
        graph.shape(squeeze->inputs[0]).c != shape.c) {
      continue;
    }
    Node gates = *squeeze;
    gates.layer = SqueezeExciteLayer{.hidden = std::get<ConvLayer>(squeeze->layer).out_channels,
                                     .activation = activation->kind,
                                     .gate = gate->kind};
    gates.output = node.output;
    gates.parameters.insert(gates.parameters.end(), excite->parameters.begin(),
                            excite->parameters.end());
    for (const Node* part : {squeeze, middle, excite}) {
      absorbed[to_size(part->output.id)] = true;
    }
    fused.emplace_back(node.output, std::move(gates));
  }

  std::vector<Node> nodes;
  for (const Node& node : graph.nodes()) {
    if (absorbed[to_size(node.output.id)]) continue;
    const auto gates = std::find_if(fused.begin(), fused.end(),
                                    [&](const auto& pair) { return pair.first == node.output; });
    nodes.push_back(gates == fused.end() ? node : gates->second);
  }
  return graph.with_nodes(std::move(nodes), graph.output());
}

Graph fuse_activations(const Graph& graph, bool training) {
  return fold_into_producer(graph, [training](Node& producer, const Node& node) {
    const auto* activation = std::get_if<ActivationLayer>(&node.layer);
    if (activation == nullptr) return false;
    const Activation kind = activation->kind;
    const auto take = [&](Activation& place) {
      if (place != Activation::identity) return false;
      place = kind;
      return true;
    };
    if (auto* conv = std::get_if<ConvLayer>(&producer.layer)) {
      return !(training && gradient_reads_input(kind)) && take(conv->activation);
    }
    if (auto* norm = std::get_if<BatchNormLayer>(&producer.layer)) {
      return take(norm->desc.activation);
    }
    auto* add = std::get_if<AddLayer>(&producer.layer);
    if (add == nullptr || kind != Activation::relu) return false;
    return add->relu = true;
  });
}

Graph fuse_dropout(const Graph& graph) {
  return fold_into_producer(graph, [](Node& producer, const Node& node) {
    const auto* dropout = std::get_if<DropoutLayer>(&node.layer);
    auto* conv = std::get_if<ConvLayer>(&producer.layer);
    if (dropout == nullptr || conv == nullptr || conv->activation != Activation::relu ||
        conv->dropout > 0) {
      return false;
    }
    conv->dropout = dropout->p;
    conv->dropout_id = dropout->id;
    return true;
  });
}

namespace {

/// A batch norm with what lies between it and an addition.
struct NormBranch {
  const Node* norm = nullptr;
  const Node* drop = nullptr;  // null: nothing
};

/// Joins branches to the additions that read them.
class AdditionJoiner {
 public:
  explicit AdditionJoiner(const Graph& graph)
      : graph_(graph), readers_(count_readers(graph)), makers_(to_size(graph.values()), nullptr) {
    for (const Node& node : graph.nodes()) makers_[to_size(node.output.id)] = &node;
  }

  Graph join() const {
    std::vector<bool> absorbed(to_size(graph_.values()), false);
    std::vector<Node> nodes;
    for (const Node& node : graph_.nodes()) nodes.push_back(joined(node, absorbed));
    std::erase_if(nodes, [&](const Node& node) { return absorbed[to_size(node.output.id)]; });
    return graph_.with_nodes(std::move(nodes), graph_.output());
  }

 private:
  /// The node, or what it becomes as an addition with a branch. Both inputs are there by then.
  Node joined(const Node& node, std::vector<bool>& absorbed) const {
    const auto* add = std::get_if<AddLayer>(&node.layer);
    if (add == nullptr || add->factor != 1) return node;
    for (size_t k = 0; k < 2; ++k) {
      const NormBranch branch = branch_of(node.inputs[k]);
      if (branch.norm == nullptr) continue;
      Node whole = *branch.norm;
      auto& layer = std::get<BatchNormLayer>(whole.layer);
      layer.desc.adds = true;
      layer.desc.activation = add->relu ? Activation::relu : Activation::identity;
      absorbed[to_size(branch.norm->output.id)] = true;
      if (branch.drop != nullptr) {
        const auto& drop = std::get<DropPathLayer>(branch.drop->layer);
        layer.drop_path = drop.p;
        layer.drop_path_id = drop.id;
        absorbed[to_size(branch.drop->output.id)] = true;
      }
      whole.inputs.push_back(node.inputs[1 - k]);
      whole.output = node.output;
      return whole;
    }
    return node;
  }

  NormBranch branch_of(Value end) const {
    NormBranch branch{only_maker(end), nullptr};
    if (branch.norm != nullptr && std::holds_alternative<DropPathLayer>(branch.norm->layer)) {
      branch.drop = branch.norm;
      branch.norm = only_maker(branch.drop->inputs[0]);
    }
    const auto* norm =
        branch.norm == nullptr ? nullptr : std::get_if<BatchNormLayer>(&branch.norm->layer);
    if (norm == nullptr || norm->desc.activation != Activation::identity ||
        readers_[to_size(branch.norm->inputs[0].id)] != 1) {
      return {};
    }
    return branch;
  }

  /// The node that makes a value for one reader alone, or null.
  const Node* only_maker(Value v) const {
    return readers_[to_size(v.id)] == 1 ? makers_[to_size(v.id)] : nullptr;
  }

  const Graph& graph_;
  std::vector<int> readers_;
  std::vector<const Node*> makers_;  // by value
};

}  // namespace

Graph join_additions(const Graph& graph) { return AdditionJoiner(graph).join(); }

Graph join_max_pools(const Graph& graph) {
  std::vector<bool> joinable(to_size(graph.values()), false);
  std::vector<Node> nodes = graph.nodes();
  for (Node& node : nodes) {
    if (auto* pool = std::get_if<MaxPoolLayer>(&node.layer)) {
      pool->joined = joinable[to_size(node.inputs[0].id)] && !pool->desc.windows_overlap();
    }
    for (Value v : node.inputs) joinable[to_size(v.id)] = false;
    const auto* conv = std::get_if<ConvLayer>(&node.layer);
    joinable[to_size(node.output.id)] = conv != nullptr && conv->activation != Activation::identity;
  }
  return graph.with_nodes(std::move(nodes), graph.output());
}

Graph join_means(const Graph& graph) {
  const std::vector<int> readers = count_readers(graph);
  std::vector<bool> joinable(to_size(graph.values()), false);
  std::vector<Node> nodes = graph.nodes();
  for (Node& node : nodes) {
    if (auto* mean = std::get_if<GlobalAveragePoolLayer>(&node.layer)) {
      mean->joined = joinable[to_size(node.inputs[0].id)];
    }
    for (Value v : node.inputs) joinable[to_size(v.id)] = false;
    const auto* norm = std::get_if<BatchNormLayer>(&node.layer);
    const size_t out = to_size(node.output.id);
    joinable[out] = norm != nullptr && !norm->desc.adds && readers[out] > 1;
  }
  return graph.with_nodes(std::move(nodes), graph.output());
}

Graph pad_channels(const Graph& graph, int multiple) {
  const auto whole = [](const Node& node) {  // its weights can be padded with zeros
    const auto* conv = std::get_if<ConvLayer>(&node.layer);
    return conv != nullptr && conv->groups == 1;
  };
  std::vector<bool> pads(to_size(graph.values()), false);
  pads[to_size(graph.input().id)] = true;
  for (const Node& node : graph.nodes()) {
    const auto* conv = std::get_if<ConvLayer>(&node.layer);
    pads[to_size(node.output.id)] = whole(node) && conv->activation == Activation::identity;
  }
  for (const Node& node : graph.nodes()) {
    if (whole(node) || std::holds_alternative<UpsampleLayer>(node.layer)) continue;
    for (Value v : node.inputs) pads[to_size(v.id)] = false;
  }
  Graph padded = graph;
  for (int i = 0; i < graph.values(); ++i) {
    const int channels = graph.shape(Value{i}).c;
    if (!pads[to_size(i)]) continue;
    padded.store_in(Value{i}, round_up(channels, multiple));
  }
  return padded;
}

Graph without_last_upsampling(const Graph& trained) {
  Graph graph = remove_auxiliary_outputs(trained);
  std::vector<Node> nodes = graph.nodes();
  if (nodes.empty() || nodes.back().output != graph.output()) return graph;
  const auto* upsample = std::get_if<UpsampleLayer>(&nodes.back().layer);
  if (upsample == nullptr || !upsample->bilinear || upsample->corners) return graph;
  const Value scores = nodes.back().inputs[0];
  nodes.pop_back();
  return graph.with_nodes(std::move(nodes), scores);
}

Graph freeze_batch_norms(const Graph& graph, bool encoder_alone) {
  std::vector<Node> nodes = graph.nodes();
  for (Node& node : nodes) {
    auto* norm = std::get_if<BatchNormLayer>(&node.layer);
    if (norm == nullptr) continue;
    norm->desc.frozen = !encoder_alone || graph.parameters()[to_size(node.parameters[0])].encoder;
  }
  return graph.with_nodes(std::move(nodes), graph.output());
}

}  // namespace macadam
