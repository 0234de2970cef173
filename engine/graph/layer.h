#pragma once
// A node of a graph compiled for one device: it runs forward and backward on tensors that the plan
// has placed. Layers own no activation memory.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/graph/graph.h"
#include "kernels/ops.h"

namespace macadam {

/// Where one layer's tensors lie; fixed when the plan is compiled.
struct Bindings {
  std::vector<Tensor> inputs;
  Tensor output;
  std::vector<Tensor> parameters;           // fp32
  std::vector<Tensor> parameter_gradients;  // fp32; null data for running statistics
  Tensor output_gradient;                   // the layer may overwrite it
  /// Of the pooling that is joined to the layer (join_max_pools and join_means in rewrite.h); null
  /// data: none. Means have no index.
  Tensor pooled_gradient, pooled_index;
  /// Nothing else reads the output: output_gradient is memory without values.
  bool only_pooled = false;
  std::vector<Tensor> input_gradients;  // null data: not wanted
  std::vector<bool> accumulate;         // by input: add to the gradient instead of writing it
  void* saved = nullptr;                // kept from forward to backward
  void* workspace = nullptr;            // scratch of the running call
  void* packed = nullptr;               // weights in the layout of the device
};

/// What a layer needs of its plan, known before bindings exist. Sizes in bytes.
struct LayerNeeds {
  struct Workspace {
    size_t bytes = 0;
    size_t of_slice = 0;  // more where the output, or its gradient, is a channel slice
    size_t of_sum = 0;    // more where some input's gradient is added to

    size_t total(bool slice, bool sum) const {
      return bytes + (slice ? of_slice : 0) + (sum ? of_sum : 0);
    }
  };

  bool backward_reads_input = false;  // all of them
  bool backward_reads_first = false;  // the first input, whatever the others
  bool backward_reads_output = false;
  bool writes_slices = true;  // the output may be a channel slice of a wider tensor
  bool reads_slices = true;   // so may the inputs
  /// Backward, one input's gradient may be made in the memory of the output's: that of
  /// `in_place_input`, where it has no memory yet, else the first for which this holds.
  bool backward_in_place = false;
  size_t in_place_input = 0;
  size_t saved = 0, packed = 0;  // see Bindings
  size_t pack_workspace = 0;
  Workspace forward{}, backward{};
  /// The dtype in which backward() makes the gradient of the first parameter where the plan asks
  /// for it (parameter_gradients[0] is one of this dtype then, else fp32): see Convolution.
  DType weight_gradient = DType::f32;
};

class Layer {
 public:
  virtual ~Layer() = default;

  /// The same whenever it is asked.
  virtual LayerNeeds needs() const { return {}; }
  /// Whether `other`, this layer made for another batch or image size, reads what pack() writes
  /// here.
  virtual bool packs_like(const Layer& other) const {
    return needs().packed == other.needs().packed;
  }
  /// Which implementation runs, for people.
  virtual std::string implementation() const { return {}; }

  /// Rewrites the node's parameters (fp32) for the device; called after every change of them.
  virtual void pack(std::span<const Tensor> parameters, void* packed, void* workspace) {
    static_cast<void>(parameters);
    static_cast<void>(packed);
    static_cast<void>(workspace);
  }
  /// The casts that pack() consists of, where it does nothing else; else none.
  virtual std::vector<Cast> pack_casts(std::span<const Tensor> parameters, void* packed) const {
    static_cast<void>(parameters);
    static_cast<void>(packed);
    return {};
  }
  virtual void forward(const Bindings& bindings) = 0;
  virtual void backward(const Bindings& bindings) = 0;
};

/// What compiling a layer needs to know.
struct LayerContext {
  const Graph& graph;
  const Node& node;
  Ops& ops;
  DType dtype = DType::f32;
  bool training = false;
  bool input_gradient = false;       // of the first input
  bool parameter_gradients = false;  // of any parameter
  uint64_t seed = 0;                 // of dropout
  const StepState* state = nullptr;  // device memory; training only
};

/// Compiles the node's layer. Throws RunError when the device has no implementation.
std::unique_ptr<Layer> make_layer(const LayerContext& context);

}  // namespace macadam
