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
  /// Of the max pooling that is joined to the layer (join_max_pools in rewrite.h); null data: none.
  Tensor pooled_gradient, pooled_index;
  /// Nothing else reads the output: output_gradient is memory without values.
  bool only_pooled = false;
  std::vector<Tensor> input_gradients;  // null data: not wanted
  std::vector<bool> accumulate;         // by input: add to the gradient instead of writing it
  void* saved = nullptr;                // kept from forward to backward
  void* workspace = nullptr;            // scratch of the running call
  void* packed = nullptr;               // weights in the layout of the device
};

class Layer {
 public:
  virtual ~Layer() = default;

  // What the layer needs, asked before bindings exist.
  virtual bool backward_reads_input() const { return false; }
  virtual bool backward_reads_output() const { return false; }
  /// The output may be a channel slice of a wider tensor.
  virtual bool writes_slices() const { return true; }
  /// So may the inputs.
  virtual bool reads_slices() const { return true; }
  /// Backward, one input's gradient may be made in the memory of the output's.
  virtual bool backward_in_place() const { return false; }
  virtual size_t saved_bytes() const { return 0; }
  virtual size_t packed_bytes() const { return 0; }
  /// Whether `other`, this layer made for another batch or image size, reads what pack() writes
  /// here.
  virtual bool packs_like(const Layer& other) const {
    return packed_bytes() == other.packed_bytes();
  }
  virtual size_t pack_workspace() const { return 0; }
  /// `output_is_slice`: the output will be a channel slice.
  virtual size_t forward_workspace(bool output_is_slice) const {
    static_cast<void>(output_is_slice);
    return 0;
  }
  /// `gradient_is_slice`: output_gradient will be a channel slice; `accumulates`: some input
  /// gradient will be added to.
  virtual size_t backward_workspace(bool gradient_is_slice, bool accumulates) const {
    static_cast<void>(gradient_is_slice);
    static_cast<void>(accumulates);
    return 0;
  }
  /// The dtype in which backward() makes the gradient of the first parameter where the plan asks
  /// for it (parameter_gradients[0] is one of this dtype then, else fp32): see Convolution.
  virtual DType weight_gradient_dtype() const { return DType::f32; }
  /// Which implementation runs, for people.
  virtual std::string implementation() const { return {}; }

  /// Rewrites the node's parameters (fp32) for the device; called after every change of them.
  virtual void pack(std::span<const Tensor> parameters, void* packed, void* workspace) {
    static_cast<void>(parameters);
    static_cast<void>(packed);
    static_cast<void>(workspace);
  }
  /// The casts that pack() consists of, where it does nothing else; else none.
  virtual std::vector<Convolution::Cast> pack_casts(std::span<const Tensor> parameters,
                                                    void* packed) const {
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
