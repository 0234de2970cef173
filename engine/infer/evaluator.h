#pragma once
// Scores of a network over a data set: one confusion matrix and the mean loss.

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "engine/infer/metrics.h"
#include "engine/input/batch_source.h"
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
  /// `graph` decides batch and size. `parameters` and `context` outlive it.
  Evaluator(const Graph& graph, Parameters& parameters, DeviceContext& context,
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
  /// The same of the loss's terms, in its order and without their weights.
  std::vector<double> mean_terms() const;
  const Plan& plan() const { return plan_; }

 private:
  DeviceContext& context_;
  Plan plan_;
  BatchUpload upload_;
  Replay scoring_;
  Buffer predictions_, host_predictions_, counts_, losses_, weights_;
  Tensor prediction_, class_weights_;
  std::vector<double> term_sums_;
  double loss_sum_ = 0, pixel_sum_ = 0;
};

/// A sample as the network saw it, its labels, and the classes that it found.
struct EvaluatedSample {
  int sample = 0;  // index in the split
  int height = 0, width = 0;
  std::vector<uint8_t> rgb, labels, classes;  // height x width x 3, and twice height x width
  /// Mean over the classes that labels or `classes` hold; NaN where it was not asked for.
  double iou = std::numeric_limits<double>::quiet_NaN();
};

/// Which samples an Evaluation keeps.
struct KeptSamples {
  int64_t spread = 0;    // over the split, the same ones whatever the network
  int64_t extremes = 0;  // of the highest and of the lowest mean IoU
};

/// What a network makes of a split.
struct Evaluation {
  ConfusionMatrix confusion;
  double mean_loss = 0;                  // as Evaluator::mean_loss()
  std::vector<double> mean_terms;        // as Evaluator::mean_terms()
  std::vector<EvaluatedSample> samples;  // spread over the split
  /// From the lowest IoU up, and from the highest down; no sample is in both.
  std::vector<EvaluatedSample> worst, best;
};

/// Scores all batches of `source`, with the parameters' current values, and keeps some samples
/// (without augmentation: as they are in the batches). `go_on` is told the batches done and
/// in all after each; empty when it returns false before the last one.
std::optional<Evaluation> evaluate(Evaluator& evaluator, BatchSource& source, KeptSamples keep,
                                   const std::function<bool(int64_t, int64_t)>& go_on);

}  // namespace macadam
