#pragma once
// One training step: upload, forward, loss, backward, optimiser, weights repacked. A step may take
// its gradient from several batches. On CUDA the work of a batch is captured once and replayed as a
// graph; its loss is read a batch late, so that the host never waits for the device inside the
// loop.

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/input/batch_upload.h"
#include "engine/plan/plan.h"
#include "engine/plan/replay.h"
#include "engine/train/optimizer.h"
#include "engine/train/teacher.h"

namespace macadam {

struct TrainingStepOptions {
  DType dtype = DType::f32;  // f16 turns loss scaling on
  LossDesc loss;
  std::vector<float> class_weights;  // one a class, or empty: all 1
  OptimizerOptions optimizer;
  Normalization normalization;
  uint64_t seed = 0;
  DeviceCache* cache = nullptr;      // of the samples of the batches; outlives the step
  std::optional<bool> pad_channels;  // see PlanOptions
  std::optional<int> inputs;         // as well
  std::optional<TeacherOptions> teacher;
};

/// Which batch of a step: number `index` (from 0) of `count`. The step's gradient is the mean of
/// the batches' gradients, as if the loss were the mean of their losses.
struct BatchOfStep {
  int64_t index = 0, count = 1;

  bool last() const { return index + 1 == count; }
};

/// Of one batch.
struct StepResult {
  uint64_t step = 0;
  BatchOfStep batch;
  std::span<const int>
      samples;          // that it was made of, -1 where it was padded; until the next run()
  LossValues loss;      // its terms are those of the output; its total has all there is
  float auxiliary = 0;  // of the total, that of auxiliary outputs
  float teacher = 0;    // and of the teacher
};

/// A part of a step, for profiles.
struct StepCall {
  std::string pass;  // "upload", "forward", "loss", "teacher", "backward", "update", "pack"
  PlanCall call;
};

class TrainingStep {
 public:
  /// Requires parameters of `graph` made for training, with their initial values. `parameters`
  /// and `context` outlive it.
  TrainingStep(const Graph& graph, Parameters& parameters, DeviceContext& context,
               const TrainingStepOptions& options);

  /// Queues a batch of step number `step` at learning rate `lr`, and after the last one the
  /// update; returns when `batch` may be reused. The result is that of the call before, if there
  /// was one since the last finish(). Requires of.count <= options.optimizer.accumulate, and that
  /// the batches of a step follow each other.
  std::optional<StepResult> run(const Batch& batch, uint64_t step, float lr, BatchOfStep of = {});
  /// Waits for the last queued batch and returns its result.
  std::optional<StepResult> finish();
  /// The step of one batch, call by call, marked on `timeline`: first a mark, then one after each
  /// of calls(). Waits for it. Requires accumulate = 1 and nothing in flight.
  void run_marked(const Batch& batch, uint64_t step, float lr, Timeline& timeline);
  /// What run_marked() marks: the plan's calls by pass, "upload", "loss", "teacher" and "update"
  /// between them.
  std::vector<StepCall> calls() const;
  /// Call after the parameters were changed from outside.
  void pack_weights() { plan_->pack_weights(); }
  /// From now on, computes no gradients for these (by parameter; see PlanOptions::frozen). The
  /// plan is compiled anew when they differ from those before. Requires that no result is pending.
  void freeze(const std::vector<bool>& frozen);

  Plan& plan() { return *plan_; }
  Optimizer& optimizer() { return optimizer_; }
  /// Of the plans: activations, gradients, workspaces, packed weights.
  size_t bytes() const;

 private:
  struct InFlight {
    uint64_t step = 0;
    BatchOfStep batch;
    std::vector<int> samples;
    bool pending = false;
    Event done;
  };

  /// What a step consists of after the upload, in this order: run, profiled and listed by it.
  struct Part {
    std::string_view pass;
    bool of_batch;  // else once a step
    void (*run)(TrainingStep& step, Timeline* timeline);
    std::vector<PlanCall> (*calls)(const TrainingStep& step);
  };
  static const std::array<Part, 6> kParts;

  void compile();
  StepState state_of(const Batch& batch, uint64_t step, float lr, BatchOfStep of) const;
  /// The parts of a batch, or those of a step.
  void run_parts(bool of_batch);
  std::optional<StepResult> take(size_t slot);
  /// Of the outputs, and behind them in `total` that of the teacher.
  int losses() const { return outputs_ + (teacher_options_ ? 1 : 0); }
  size_t loss_bytes() const { return to_size(losses()) * sizeof(LossValues); }

  Graph graph_;
  Parameters& parameters_;
  DeviceContext& context_;
  Normalization normalization_;
  DeviceCache* cache_;
  const bool accumulates_;
  const int outputs_;
  const std::optional<TeacherOptions> teacher_options_;
  Buffer device_state_, device_losses_, device_weights_;
  Buffer host_states_, host_losses_;  // two of each, used in turn; losses of all outputs
  Tensor class_weights_;
  Optimizer optimizer_;
  PlanOptions plan_options_;
  std::optional<Plan> plan_;
  std::optional<Teacher> teacher_;
  std::optional<BatchUpload> upload_;
  // By input of the plan: whole steps, or with accumulation gradients, and then the update.
  std::vector<Replay> whole_step_, gradients_;
  Replay update_;
  std::array<InFlight, 2> in_flight_;
  size_t turn_ = 0;
};

}  // namespace macadam
