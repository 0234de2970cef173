#pragma once
// The engine's oracle: runs a graph as it is written, node by node with the reference ops, every
// value and every gradient in memory of its own, all gradients summed into zeros. No rewrite, no
// shared memory, no layer of the engine. A kind of layer that it does not know does not compile,
// and what only rewrites make is refused with std::logic_error.

#include <vector>

#include "engine/graph/graph.h"
#include "engine/plan/parameters.h"
#include "kernels/ops.h"

namespace macadam::testing {

class NaiveNetwork {
 public:
  /// `parameters` (made for training if `training`) outlive it and get the gradients.
  NaiveNetwork(const Graph& graph, Parameters& parameters, bool training, uint64_t dropout_seed);

  /// fp32 input and u8 labels, the caller's to fill.
  Tensor input() const { return value(graph_.input()); }
  Tensor labels();
  Tensor output() const { return value(graph_.output()); }

  void forward(const StepState& state);
  /// When training, `total` has the losses of auxiliary outputs in it.
  LossValues loss(const LossDesc& desc, const Tensor& class_weights);
  /// After loss(), when training.
  void backward(const StepState& state);

 private:
  struct Memory {
    std::vector<std::vector<float>> values, gradients, saved;  // by value; saved by node
    std::vector<std::vector<uint8_t>> indices;                 // by node
    std::vector<uint8_t> labels;
  };

  Tensor value(Value v) const;
  Tensor gradient(Value v) const;
  Tensor saved(size_t node, int which) const;
  Tensor index(size_t node) const;
  Tensor parameter(const Node& node, size_t which) const;
  Tensor parameter_gradient(const Node& node, size_t which) const;
  LossValues loss_of(Value scores, const LossDesc& desc, const Tensor& class_weights);
  struct Forward;   // one function a kind of layer
  struct Backward;  // the same

  Graph graph_;
  Parameters& parameters_;
  bool training_;
  uint64_t seed_;
  Ops ops_;
  mutable Memory memory_;
};

}  // namespace macadam::testing
