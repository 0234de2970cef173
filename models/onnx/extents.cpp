#include "models/onnx/extents.h"

#include <algorithm>

#include "base/to_size.h"

namespace macadam {

namespace {

/// Whether a window of `span` pixels, moved one pixel at a time, keeps the size.
bool keeps_size(int span_h, int span_w, const Padding& padding) {
  return padding.top + padding.bottom == span_h - 1 && padding.left + padding.right == span_w - 1;
}

bool keeps_size(const PoolDesc& desc) {
  return desc.stride_h == 1 && desc.stride_w == 1 &&
         keeps_size(desc.kernel_h, desc.kernel_w, desc.padding);
}

/// The value whose size a node's output has; the output itself when it is a size of its own.
class ExtentOf {
 public:
  ExtentOf(const Node& node, const std::vector<Value>& known) : node_(node), known_(known) {}

  Value operator()(const ConvLayer& layer) const {
    const bool same =
        layer.stride == 1 && keeps_size(layer.dilation * (layer.kernel_h - 1) + 1,
                                        layer.dilation * (layer.kernel_w - 1) + 1, layer.padding);
    return same ? of_inputs() : node_.output;
  }
  Value operator()(const ConvTransposeLayer&) const { return node_.output; }
  Value operator()(const GlobalAveragePoolLayer&) const { return node_.output; }
  Value operator()(const GridAveragePoolLayer&) const { return node_.output; }
  Value operator()(const MaxPoolLayer& layer) const { return pooled(layer.desc); }
  Value operator()(const AveragePoolLayer& layer) const { return pooled(layer.desc); }
  Value operator()(const UpsampleLayer& layer) const {
    return layer.like.id < 0 ? node_.output : known(layer.like);
  }
  Value operator()(const ScaleLayer&) const { return known(node_.inputs[0]); }
  template <typename PerPixel>
  Value operator()(const PerPixel&) const {
    return of_inputs();
  }

 private:
  Value known(Value v) const { return known_[to_size(v.id)]; }
  Value pooled(const PoolDesc& desc) const { return keeps_size(desc) ? of_inputs() : node_.output; }
  /// All inputs have the same size, or the network does not run.
  Value of_inputs() const {
    Value first = known(node_.inputs[0]);
    for (Value v : node_.inputs) first.id = std::min(first.id, known(v).id);
    return first;
  }

  const Node& node_;
  const std::vector<Value>& known_;
};

}  // namespace

std::vector<Value> same_extent(const Graph& graph) {
  std::vector<Value> extents(to_size(graph.values()));
  extents[0] = graph.input();
  for (const Node& node : graph.nodes()) {
    extents[to_size(node.output.id)] = std::visit(ExtentOf(node, extents), node.layer);
  }
  return extents;
}

}  // namespace macadam
