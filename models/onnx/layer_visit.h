#pragma once
// From a node to the function that knows its kind of layer.

#include <fmt/format.h>

#include <string_view>

#include "engine/graph/graph.h"

namespace macadam {

/// Calls visitor.layer(node, L) for the node's layer L. Throws InputError naming the layer and
/// `file` when the visitor has no such function.
template <typename Visitor>
void visit_layer(Visitor& visitor, const Node& node, std::string_view file) {
  std::visit(
      [&]<typename Layer>(const Layer& layer) {
        if constexpr (requires { visitor.layer(node, layer); }) {
          visitor.layer(node, layer);
        } else {
          throw InputError(fmt::format("no ONNX operator is known for the layer '{}' ({})",
                                       node.name, kind_of(node.layer)),
                           file, "export a network without it");
        }
      },
      node.layer);
}

}  // namespace macadam
