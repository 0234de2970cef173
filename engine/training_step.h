#pragma once
// One training step: upload, forward, loss, backward, optimiser, weights repacked. On CUDA the
// step is captured once and replayed as a graph; its loss is read a step late, so that the host
// never waits for the device inside the loop.

#include <array>
#include <optional>
#include <vector>

#include "engine/batch_upload.h"
#include "engine/optimizer.h"
#include "engine/plan.h"

namespace macadam {

struct TrainingStepOptions {
  DType dtype = DType::f32;
  LossDesc loss;
  std::vector<float> class_weights;  // one a class, or empty: all 1
  OptimizerOptions optimizer;
  Normalization normalization;
  uint64_t seed = 0;
};

struct StepResult {
  uint64_t step = 0;
  LossValues loss;
};

class TrainingStep {
 public:
  /// Requires parameters of `graph` made for training, with their initial values. `parameters`,
  /// `stream` and `ops` outlive it.
  TrainingStep(const Graph& graph, Parameters& parameters, Stream& stream, Ops& ops,
               const TrainingStepOptions& options);

  /// Queues step number `step` at learning rate `lr`; returns when `batch` may be reused.
  /// The result is that of the call before, if there was one since the last finish().
  std::optional<StepResult> run(const Batch& batch, uint64_t step, float lr);
  /// Waits for the last queued step and returns its result.
  std::optional<StepResult> finish();
  /// See Optimizer::set_learning_rate_scales; holds for the steps queued from now on.
  void set_learning_rate_scales(std::span<const float> scales) {
    optimizer_.set_learning_rate_scales(scales);
  }
  /// Call after the parameters were changed from outside.
  void pack_weights() { plan_.pack_weights(); }

  Plan& plan() { return plan_; }

 private:
  struct InFlight {
    uint64_t step = 0;
    bool pending = false;
    Event done;
  };

  void compute();
  std::optional<StepResult> take(size_t slot);

  Stream& stream_;
  Buffer device_state_, device_losses_, device_weights_;
  Buffer host_states_, host_losses_;  // two of each, used in turn
  Tensor class_weights_;
  Plan plan_;
  Optimizer optimizer_;
  BatchUpload upload_;
  CapturedGraph captured_;
  std::array<InFlight, 2> in_flight_;
  size_t turn_ = 0;
  bool warm_ = false;
};

}  // namespace macadam
