#include "models/keras_layer_order.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "base/to_size.h"

namespace macadam {

std::vector<size_t> keras_layer_order(const Graph& graph) {
  const std::vector<Node>& nodes = graph.nodes();
  std::vector<int> maker(to_size(graph.values()), -1);  // the node of each value
  for (size_t i = 0; i < nodes.size(); ++i)
    maker[to_size(nodes[i].output.id)] = static_cast<int>(i);

  std::vector<int> distance(nodes.size(), 0);
  for (size_t i = nodes.size(); i-- > 0;) {
    for (const Value v : nodes[i].inputs) {
      const int from = maker[to_size(v.id)];
      if (from < 0) continue;  // the image
      distance[to_size(from)] = std::max(distance[to_size(from)], distance[i] + 1);
    }
  }

  std::vector<size_t> met(nodes.size(), nodes.size());
  std::vector<Value> walk{graph.output()};
  for (size_t count = 0; !walk.empty();) {
    const int node = maker[to_size(walk.back().id)];
    walk.pop_back();
    if (node < 0 || met[to_size(node)] < nodes.size()) continue;
    met[to_size(node)] = count++;
    const std::vector<Value>& inputs = nodes[to_size(node)].inputs;
    walk.insert(walk.end(), inputs.rbegin(), inputs.rend());
  }

  std::vector<size_t> order(nodes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return std::tuple(-distance[i], met[i]); });
  return order;
}

}  // namespace macadam
