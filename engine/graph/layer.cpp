#include "engine/graph/layer.h"

#include "engine/graph/layers/factories.h"

namespace macadam {

std::unique_ptr<Layer> make_layer(const LayerContext& context) {
  return std::visit([&](const auto& layer) { return layers::make(layer, context); },
                    context.node.layer);
}

}  // namespace macadam
