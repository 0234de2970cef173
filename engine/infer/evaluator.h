#pragma once
// Scores of a network over a data set: one confusion matrix and the mean loss.

#include <vector>

#include "engine/infer/metrics.h"
#include "engine/input/batch_upload.h"
#include "engine/plan/plan.h"
#include "engine/plan/replay.h"

namespace macadam {

struct EvaluatorOptions {
  DType dtype = DType::f32;
  LossDesc loss;
  std::vector<float> class_weights;  // as in training, so that the losses compare
  Normalization normalization;
};

class Evaluator {
 public:
  /// `graph` decides batch and size. `parameters`, `stream` and `ops` outlive it.
  Evaluator(const Graph& graph, Parameters& parameters, Stream& stream, Ops& ops,
            const EvaluatorOptions& options);

  /// Forgets all counts and takes the parameters' current values.
  void reset();
  /// Adds a batch with labels. Blocks until its scores are counted.
  void add(const Batch& batch);
  /// Predicted classes of the last batch, u8 NxHxW, in host memory.
  const uint8_t* predictions();

  ConfusionMatrix confusion();
  /// Mean of the batches' losses, weighted by their labelled pixels; NaN without any.
  double mean_loss() const;
  const Plan& plan() const { return plan_; }

 private:
  Stream& stream_;
  Ops& ops_;
  Plan plan_;
  BatchUpload upload_;
  Replay scoring_;
  Buffer predictions_, host_predictions_, counts_, losses_, weights_;
  Tensor prediction_, class_weights_;
  double loss_sum_ = 0, pixel_sum_ = 0;
};

}  // namespace macadam
