#include "engine/plan/packed_weights.h"

#include <algorithm>

#include "base/round_up.h"
#include "base/to_size.h"

namespace macadam {

PlanWeights::PlanWeights(const Graph& graph, std::span<const std::shared_ptr<Layer>> layers,
                         const Parameters& parameters, Stream& stream,
                         std::span<const std::shared_ptr<const PlanWeights>> others) {
  std::vector<size_t> offsets(layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    const Node& node = graph.nodes()[i];
    const Layer& layer = *layers[i];
    const LayerNeeds needs = layer.needs();
    Part& part = parts_.emplace_back(Part{.layer = layers[i], .node_parameters = node.parameters});
    if (needs.packed == 0) continue;
    const Part* same = nullptr;
    for (size_t k = 0; k < others.size() && same == nullptr; ++k) {
      same = others[k]->find(node, layer);
    }
    if (same != nullptr) {
      part.memory = same->memory;
      part.data = same->data;
      continue;
    }
    part.packing = Packing::call;
    offsets[i] = own_bytes_;
    own_bytes_ += round_up(needs.packed, kMemoryAlignment);
    workspace_bytes_ = std::max(workspace_bytes_, needs.pack_workspace);
  }

  const auto own = std::make_shared<const Buffer>(stream.device(), own_bytes_);
  std::vector<Cast> casts;
  for (size_t i = 0; i < parts_.size(); ++i) {
    Part& part = parts_[i];
    if (part.packing == Packing::call) {
      part.memory = own;
      part.data = own->data() + offsets[i];
      for (const int p : part.node_parameters) {
        part.parameters.push_back(parameters.value(to_size(p)));
      }
      const auto all = part.layer->pack_casts(part.parameters, part.data);
      if (!all.empty()) part.packing = Packing::cast;
      casts.insert(casts.end(), all.begin(), all.end());
    }
    if (part.memory && std::ranges::find(memory_, part.memory) == memory_.end()) {
      memory_.push_back(part.memory);
    }
  }
  casts_ = CastList(casts, stream);
}

const PlanWeights::Part* PlanWeights::find(const Node& node, const Layer& layer) const {
  for (const Part& part : parts_) {
    // Nodes of one network are known by their parameters, whatever the image size adds or drops.
    if (part.data != nullptr && part.node_parameters == node.parameters &&
        layer.packs_like(*part.layer)) {
      return &part;
    }
  }
  return nullptr;
}

void PlanWeights::pack(size_t node, void* workspace) const {
  const Part& part = parts_[node];
  part.layer->pack(part.parameters, part.data, workspace);
}

std::shared_ptr<const PlanWeights> PackedWeights::request(
    const Graph& graph, std::span<const std::shared_ptr<Layer>> layers, Stream& stream) {
  require(stream.device() == device_, "a plan on the weights' device");
  std::vector<std::shared_ptr<const PlanWeights>> others;
  for (const std::weak_ptr<const PlanWeights>& given : given_) {
    if (auto alive = given.lock()) others.push_back(std::move(alive));
  }
  given_.assign(others.begin(), others.end());
  auto made = std::make_shared<const PlanWeights>(graph, layers, parameters_, stream, others);
  given_.push_back(made);
  return made;
}

}  // namespace macadam
