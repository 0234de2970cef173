#pragma once
// A training run: epochs of steps, validation, checkpoints, early stopping, resumption.

#include <chrono>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/infer/evaluator.h"
#include "engine/input/batch_source.h"
#include "engine/train/best_epochs.h"
#include "engine/train/fine_tuning.h"
#include "engine/train/run_files.h"
#include "engine/train/training_step.h"

namespace macadam {

/// Told about progress; the calls come from the training thread.
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;

  struct Progress {
    int64_t epoch = 0, epochs = 0;   // from 1
    int64_t batch = 0, batches = 0;  // done in this epoch
    double loss = 0;                 // mean of the epoch so far
    std::vector<Score> terms{};      // of it, where there are several
    double lr = 0;
    double best_score = 0;    // mean IoU of the best epoch; NaN before there is one
    double seconds_left = 0;  // of the run, as far as the epochs so far tell
    double images_per_second = 0;
    double seconds = 0;       // a batch, mean of the epoch so far
    double wait_seconds = 0;  // of these, waiting for data
    double load_seconds = 0;  // that the loader spent on a sample, mean
    int ready = 0;            // batches that wait in the loader
  };
  /// What a stretch of epochs trains, in scalars.
  struct Phase {
    int64_t first_epoch = 0, last_epoch = 0;  // from 1
    int64_t trained = 0, frozen = 0;
  };
  /// Called before each phase of a run with freeze rules, and when one is resumed.
  virtual void on_phase(const Phase&) {}
  virtual void on_step(const Progress&) {}
  /// A step of the optimiser as it is logged, when its loss is known.
  struct Update {
    int64_t step = 0;
    double loss = 0, lr = 0;
  };
  virtual void on_update(const Update&) {}
  virtual void on_validation(int64_t batch, int64_t batches) { static_cast<void>(batch + batches); }
  virtual void on_epoch(const EpochRecord&) {}
  /// The run has gone back to its last checkpoint, for a reason in words.
  struct Recovery {
    std::string reason;
    int64_t epoch = 0, step = 0;  // finished ones, from which it goes on
    int64_t count = 0, most = 0;
  };
  virtual void on_recovery(const Recovery&) {}
  /// The parameters of these epochs have been averaged, and the average was validated.
  struct Average {
    std::vector<int64_t> epochs;
    std::vector<Score> scores;
    double val_loss = 0;
  };
  virtual void on_average(const Average&) {}
};

struct TrainerOptions {
  std::filesystem::path folder;  // exists
  int64_t epochs = 30;
  int64_t stop_epoch = 0;  // behind which it pauses, to go on another time; 0: none
  std::function<float(int64_t step)> learning_rate;
  TrainingStepOptions step;  // an epoch's last step may have fewer batches than `accumulate`
  FineTuning fine_tuning;
  AbsentRule absent = AbsentRule::drop;
  BestBy best_by = BestBy::miou;
  int64_t patience = 10;   // epochs without a better one before stopping; 0: never
  double min_delta = 0;    // by how much an epoch is to be better for patience to begin anew
  int64_t average = 0;     // best epochs whose parameters are averaged in the end; 0: none
  int64_t keep_every = 0;  // epochs between models that are kept, whatever they are worth; 0: none
  /// How often a run whose loss or weights are not finite goes back to its last checkpoint, each
  /// time with half the learning rate. More often is a failure.
  int64_t recoveries = 0;
  double checkpoint_seconds = 300;  // between checkpoints within an epoch
  KeptSamples samples;              // of the validation split
  /// Told of every epoch's evaluation, before it counts as done; may be empty.
  std::function<void(const EpochRecord&, const Evaluation&)> evaluated;
  ModelInfo info;  // of the model files; epoch, step, metrics are filled in
};

enum class TrainingEnd : uint8_t {
  finished,
  stopped_early,  // patience ran out
  paused,         // behind TrainerOptions::stop_epoch
  interrupted,
};

class Trainer {
 public:
  /// `train_graph` and `val_graph` are the same network for the training and validation batch.
  /// Everything passed by reference outlives the trainer. Throws InputError when the fine-tuning
  /// does not fit the network (see check_fine_tuning).
  Trainer(const Graph& train_graph, const Graph& val_graph, Parameters& parameters,
          DeviceContext& context, BatchSource& train, BatchSource& val,
          const TrainerOptions& options, TrainingObserver& observer);

  /// Continues from FOLDER/last.safetensors: the losses that follow are bit for bit those of a run
  /// that never stopped. Throws InputError when there is no checkpoint, it is damaged or without
  /// the best model beside it, or it is of another network, of other classes, in another precision
  /// or of a data set with another number of batches.
  void resume();

  /// Trains until the last epoch or `stop_epoch`, until `patience` runs out, or until
  /// `stop_requested` returns true. It is asked after every step of training and every batch of
  /// validation; where it stops, a checkpoint is written first. A validation that it cuts short is
  /// done anew when the run is resumed. With a moving average of the parameters, that is validated
  /// and kept as the best model; last.safetensors holds the parameters in training, and the average
  /// beside them. In the end, which a pause is not, average.safetensors holds the average of the
  /// best epochs, if that was asked for. Throws RunError when a loss or a weight is not finite and
  /// `recoveries` are used up, naming the step and its samples; the checkpoints on disk stay the
  /// last good ones.
  TrainingEnd run(const std::function<bool()>& stop_requested);

  /// How run() ends without a further step; nothing while there are epochs to train.
  std::optional<TrainingEnd> ended() const;
  /// Finished ones.
  int64_t epochs() const { return state_.epoch; }
  int64_t steps() const { return state_.steps; }
  int64_t best_epoch() const { return state_.best_epoch; }
  /// Mean IoU of the best epoch; NaN where no class could be scored.
  double best_score() const { return state_.best(mean_iou_name()); }
  /// Of the best epoch; empty where that was before resume().
  const std::optional<Evaluation>& best_evaluation() const { return best_; }
  TrainingStep& step() { return step_; }
  const Evaluator& evaluator() const { return evaluator_; }

 private:
  using Clock = std::chrono::steady_clock;

  /// Freezes what the epochs from state_.epoch on freeze; returns the first one that differs.
  int64_t begin_phase();
  /// run(), without recoveries.
  TrainingEnd train(const std::function<bool()>& stop_requested);
  /// Back to the last checkpoint.
  void restore();
  /// The same after a failure, at half the learning rate.
  void recover(const std::string& failure);
  float learning_rate(int64_t step) const;
  std::string mean_iou_name() const;
  /// What the observer is told after a batch, `first` having been the epoch's done when it went on.
  TrainingObserver::Progress progress(int64_t first, int64_t images, double elapsed) const;
  /// False when it was stopped.
  bool train_epoch(const std::function<bool()>& stop_requested);
  void record(const StepResult& result);
  /// What the epoch under way has come to, and the next one begins.
  EpochRecord finish_epoch(const Evaluation& validation, Clock::time_point validation_start);
  /// Keeps the epoch when no earlier one was better, or where it is kept in any case.
  void keep(EpochRecord& record, Evaluation validation);
  /// Of the best epochs. False when it was stopped.
  bool write_average(const std::function<bool()>& stop_requested);
  /// The parameters that predictions are made with.
  Parameters& model_parameters();
  void check_finite(bool finite) const;
  /// Advice after a loss or a weight that is not finite: `how`, and from where. The last checkpoint
  /// is finite and yet may be lost for good.
  std::string train_anew(std::string_view how) const;
  void checkpoint();

  Parameters& parameters_;
  BatchSource& train_;
  BatchSource& val_;
  TrainerOptions options_;
  TrainingObserver& observer_;
  TrainingStep step_;
  Evaluator evaluator_;
  RunFiles files_;
  RunState state_;
  std::optional<BestEpochs> best_epochs_;
  std::optional<Evaluation> best_;

  int64_t landed_batches_ = 0;     // of the epoch under way: those in state_.loss_sum
  double step_loss_ = 0;           // sum of the batches of the step under way
  double validation_seconds_ = 0;  // of the last one
  int64_t saved_steps_ = 0;        // of the last checkpoint
  Clock::time_point last_checkpoint_ = Clock::now();
};

}  // namespace macadam
