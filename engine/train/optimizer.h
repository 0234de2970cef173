#pragma once
// The optimiser of a training run: its kind, its constants, and its update of all parameters.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/plan/parameters.h"
#include "kernels/ops.h"

namespace macadam {

enum class OptimizerKind : uint8_t { adamw, sgd };

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::adamw;
  float weight_decay = 0.01f;  // on convolution weights only
  SgdDesc sgd;
  AdamWDesc adamw;
  int64_t accumulate = 1;     // most batches whose gradients make up a step
  float clip_norm = 0;        // largest norm of the gradient of all that is trained; 0: any
  float ema = 0;              // decay of a moving average of the parameters; 0: none is kept
  bool loss_scaling = false;  // dynamic; for gradients in fp16
};

/// Running means of the gradients that it keeps for each parameter.
constexpr size_t moments_of(OptimizerKind kind) { return kind == OptimizerKind::adamw ? 2 : 1; }

/// What resuming needs to know besides moments and averages.
struct OptimizerProgress {
  std::vector<uint64_t> updates;  // that each parameter has seen
  GradientState gradient;
};

class Optimizer {
 public:
  /// Requires parameters made for training, with their initial values: averages begin with them.
  /// `parameters` and `context` outlive it.
  Optimizer(const OptimizerOptions& options, Parameters& parameters, DeviceContext& context);

  /// Factors on the learning rate from step `step` on, one a parameter (all 1 at first); 0 freezes
  /// a parameter. Takes effect in stream order; a captured update sees the new ones. Requires that
  /// the step before `step` is queued. AdamW's bias correction counts a parameter's own updates.
  void set_learning_rate_scales(std::span<const float> scales, uint64_t step);

  /// The scalars of batch `index` of the `count` that make up step `step` (from 0). Requires
  /// count <= accumulate.
  StepState state(uint64_t step, float lr, int64_t index = 0, int64_t count = 1) const;
  /// What the gradient of the loss is to be multiplied by, in device memory; null: nothing.
  const float* loss_scale() const;
  /// Adds a batch's gradients to the sum of those of its step; the `first` begins it. Requires
  /// accumulate > 1.
  void add_gradients(bool first);
  /// One update from the gradients, or from their sum when accumulate > 1; `state` (of the step's
  /// last batch) lies in device memory.
  void update(const StepState* state);

  /// The moments, moments_of(kind) of them, in the layout of the parameters; zeros at first. AdamW:
  /// of gradients and of their squares; SGD: the velocity.
  std::vector<Parameters>& moments() { return moments_; }
  const std::vector<Parameters>& moments() const { return moments_; }
  /// The moving averages of all parameters, running statistics among them; null without `ema`.
  Parameters* averages() { return averages_ ? &*averages_ : nullptr; }
  const Parameters* averages() const { return averages_ ? &*averages_ : nullptr; }

  /// Of the parameters, their gradients, moments and averages.
  size_t bytes() const;

  /// Before step `step`; waits for those queued.
  OptimizerProgress progress(uint64_t step) const;
  const OptimizerOptions& options() const { return options_; }
  /// Goes on with step `step`. The factors on the learning rate stay as they are.
  void restore(const OptimizerProgress& progress, uint64_t step);

 private:
  bool examines() const { return options_.clip_norm > 0 || options_.loss_scaling; }
  GradientState* gradient_state() const;
  GradientState read_gradient_state() const;
  const float* gradients() const;
  void write_segments();

  OptimizerOptions options_;
  Parameters& parameters_;
  DeviceContext& context_;
  Buffer segments_;        // stays where it is: captured updates point at it
  Buffer gradient_state_;  // of what examines() alone, like workspace_
  Buffer workspace_;
  Buffer gradient_sum_;  // with accumulate > 1
  std::vector<Parameters> moments_;
  std::optional<Parameters> averages_;

  std::vector<float> scales_;      // one a parameter
  std::vector<uint64_t> updates_;  // of each parameter when scales_ were set,
  uint64_t run_updates_ = 0;       // and of the run
};

}  // namespace macadam
