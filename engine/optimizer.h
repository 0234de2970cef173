#pragma once
// The optimiser of a training run: its kind, its constants, and its update of all parameters.

#include <cstdint>
#include <memory>

#include "engine/parameters.h"
#include "kernels/ops.h"

namespace macadam {

enum class OptimizerKind : uint8_t { adamw, sgd };

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::adamw;
  float weight_decay = 0.01f;  // on convolution weights only
  SgdDesc sgd;
  AdamWDesc adamw;
};

class Optimizer {
 public:
  /// Requires parameters made for training; `parameters`, `stream` and `ops` outlive it.
  Optimizer(const OptimizerOptions& options, Parameters& parameters, Stream& stream, Ops& ops);

  /// Factors on the learning rate, one a parameter (all 1 at first); 0 freezes a parameter. Takes
  /// effect in stream order; a captured update sees the new ones.
  void set_learning_rate_scales(std::span<const float> scales);
  /// The scalars of step `step` (from 0) at learning rate `lr`.
  StepState state(uint64_t step, float lr) const;
  /// One update from the gradients; `state` lies in device memory.
  void update(const StepState* state);

 private:
  OptimizerOptions options_;
  Parameters& parameters_;
  Stream& stream_;
  Ops& ops_;
  Buffer segments_;  // stays where it is: captured updates point at it
  size_t segment_count_ = 0;
};

}  // namespace macadam
