#include "engine/graph/one_value_norm.h"

namespace macadam {

std::string norm_of_one_value(const Graph& graph) {
  for (const Node& node : graph.nodes()) {
    const auto* norm = std::get_if<BatchNormLayer>(&node.layer);
    if (norm == nullptr || norm->desc.frozen) continue;
    if (graph.shape(node.inputs[0]).pixels() == 1) return node.name;
  }
  return "";
}

}  // namespace macadam
