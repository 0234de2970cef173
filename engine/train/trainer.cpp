#include "engine/train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace macadam {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// `graph`, after a check that the options fit it.
const Graph& checked(const Graph& graph, const TrainerOptions& options) {
  check_fine_tuning(options.fine_tuning, graph);
  return graph;
}

/// Among the terms, with their weights: the loss of auxiliary outputs, and what a teacher adds.
constexpr const char *kAuxiliary = "auxiliary", *kTeacher = "teacher";

/// A loss or a weight that is not finite, from which a run may recover.
class NotFinite : public RunError {
 public:
  NotFinite(std::string_view what, std::string_view where, std::string_view remedy)
      : RunError(what, where, remedy), reason_(RunError(what, where, "").what()) {}
  /// What and where: a run that goes on by itself needs no remedy.
  const std::string& reason() const { return reason_; }

 private:
  std::string reason_;
};

EvaluatorOptions evaluator_options(const TrainingStepOptions& step) {
  return {step.dtype, step.loss, step.class_weights, step.normalization};
}

}  // namespace

Trainer::Trainer(const Graph& train_graph, const Graph& val_graph, Parameters& parameters,
                 DeviceContext& context, BatchSource& train, BatchSource& val,
                 const TrainerOptions& options, TrainingObserver& observer)
    : parameters_(parameters),
      train_(train),
      val_(val),
      options_(options),
      observer_(observer),
      step_(with_frozen_batch_norms(options.fine_tuning, checked(train_graph, options)), parameters,
            context, options.step),
      evaluator_(val_graph, model_parameters(), context, evaluator_options(options.step)),
      files_(options.folder) {
  state_.batches = train.batches();
}

Parameters& Trainer::model_parameters() {
  Parameters* const averages = step_.optimizer().averages();
  return averages == nullptr ? parameters_ : *averages;
}

float Trainer::learning_rate(int64_t step) const {
  // Powers of two change no bit but the exponent.
  return std::ldexp(options_.learning_rate(step), -static_cast<int>(state_.recoveries));
}

std::string Trainer::mean_iou_name() const {
  return "miou_" + std::string(suffix_of(options_.absent));
}

void Trainer::resume() {
  if (!files_.has_checkpoint()) {
    throw InputError("no checkpoint to resume from", files_.last().string(),
                     "train without --resume");
  }
  restore();
}

void Trainer::restore() {
  state_ = read_checkpoint(files_.last(), options_.info, train_.batches(), parameters_,
                           step_.optimizer());
  for (const LossTerm& term : options_.step.loss.used()) {
    if (state_.batch == 0) break;
    state_.term_sums.try_emplace(std::string(name_of(term)),
                                 std::numeric_limits<double>::quiet_NaN());
  }
  if (state_.best_epoch > 0) {
    const std::filesystem::path best = files_.best();
    const Model model = load_model(best);
    match_parameters(shapes_of(parameters_), model.parameters, best.string());
    state_.best_metrics = model.info.metrics;
  }
  step_.pack_weights();
  saved_steps_ = state_.steps;
}

void Trainer::recover(const std::string& failure) {
  step_.finish();
  const int64_t recoveries = state_.recoveries + 1;
  restore();
  state_.recoveries = recoveries;
  files_.begin(state_);
  checkpoint();
  files_.log().recovery(state_.epoch, state_.steps, recoveries, failure);
  observer_.on_recovery({failure, state_.epoch, state_.steps, recoveries, options_.recoveries});
}

std::string Trainer::train_anew(std::string_view how) const {
  if (std::isfinite(state_.best("val_loss"))) {
    return fmt::format("{}, and train under another name, from the best epoch's weights={}", how,
                       files_.best().string());
  }
  return fmt::format("{}, and train {}", how, saved_steps_ > 0 ? "under another name" : "again");
}

void Trainer::check_finite(bool finite) const {
  if (finite) return;
  throw NotFinite(fmt::format("a weight is not finite after step {}", state_.steps),
                  files_.folder().string(), train_anew("lower lr"));
}

void Trainer::checkpoint() {
  const Snapshot run = Snapshot::of_run(parameters_, step_.optimizer(), state_.steps);
  check_finite(run.finite());
  if (run.loss_scale() < kSmallestLossScale) {
    throw RunError(
        fmt::format("the gradients are not finite at any loss scale at step {}", state_.steps),
        files_.folder().string(), train_anew("take bf16 or fp32, or lower lr"));
  }
  files_.write_checkpoint(run, options_.info, state_);
  saved_steps_ = state_.steps;
  last_checkpoint_ = Clock::now();
}

void Trainer::record(const StepResult& result) {
  const double loss = static_cast<double>(result.loss.total);
  if (!std::isfinite(loss)) {
    std::string names;
    for (int sample : result.samples) {
      if (sample < 0) continue;  // padding
      names += (names.empty() ? "" : ", ") + train_.sample_name(sample);
    }
    throw NotFinite(fmt::format("the loss became {} at step {}", loss, result.step), names,
                    train_anew("lower lr (or check these samples)"));
  }
  state_.loss_sum += loss;
  const std::span<const LossTerm> terms = options_.step.loss.used();
  for (size_t k = 0; k < terms.size(); ++k) {
    state_.term_sums[std::string(name_of(terms[k]))] += static_cast<double>(result.loss.terms[k]);
  }
  if (step_.plan().outputs() > 1) {
    state_.term_sums[kAuxiliary] += static_cast<double>(result.auxiliary);
  }
  if (options_.step.teacher) state_.term_sums[kTeacher] += static_cast<double>(result.teacher);
  ++landed_batches_;
  step_loss_ = result.batch.index == 0 ? loss : step_loss_ + loss;
  if (!result.batch.last()) return;
  const auto step = static_cast<int64_t>(result.step);
  const TrainingObserver::Update update{step, step_loss_ / static_cast<double>(result.batch.count),
                                        static_cast<double>(learning_rate(step))};
  files_.log().step(state_.epoch + 1, step, update.loss, update.lr);
  observer_.on_update(update);
}

int64_t Trainer::begin_phase() {
  const FineTuning& tuning = options_.fine_tuning;
  const std::vector<ParameterSpec>& specs = parameters_.specs();
  const std::vector<float> scales = learning_rate_scales(tuning, specs, state_.epoch);
  step_.optimizer().set_learning_rate_scales(scales, static_cast<uint64_t>(state_.steps));
  const int64_t end = end_of_phase(tuning, state_.epoch);
  step_.freeze(frozen_parameters(scales));
  TrainingObserver::Phase phase{state_.epoch + 1, std::min(end, options_.epochs), 0, 0};
  for (size_t i = 0; i < specs.size(); ++i) {
    if (!specs[i].trainable()) continue;
    (scales[i] == 0 ? phase.frozen : phase.trained) += specs[i].shape.elements();
  }
  if (!tuning.freeze.empty()) observer_.on_phase(phase);
  return end;
}

TrainingObserver::Progress Trainer::progress(int64_t first, int64_t images, double elapsed) const {
  const auto done = static_cast<double>(state_.batch - first);
  const auto landed = static_cast<double>(std::max<int64_t>(landed_batches_, 1));
  const SourceStats data = train_.stats();
  TrainingObserver::Progress now{
      .epoch = state_.epoch + 1,
      .epochs = options_.epochs,
      .batch = state_.batch,
      .batches = state_.batches,
      .loss = state_.loss_sum / landed,
      .lr = static_cast<double>(learning_rate(std::max<int64_t>(state_.steps, 1) - 1)),
      .best_score = best_score(),
      .images_per_second = static_cast<double>(images) / elapsed,
      .seconds = elapsed / done,
      .wait_seconds = data.wait_seconds / done,
      .ready = data.ready};
  now.load_seconds = data.load_seconds / static_cast<double>(std::max<int64_t>(data.samples, 1));
  if (state_.term_sums.size() > 1) {
    for (const auto& [name, sum] : state_.term_sums) now.terms.push_back({name, sum / landed});
  }
  const int64_t stop = options_.stop_epoch;
  const int64_t last = stop > 0 ? std::min(stop, now.epochs) : now.epochs;
  const auto epochs = static_cast<double>(last - now.epoch);  // behind this one
  const auto batches = static_cast<double>(now.batches);
  now.seconds_left = now.seconds * (epochs * batches + batches - static_cast<double>(now.batch)) +
                     validation_seconds_ * (epochs + 1);
  return now;
}

bool Trainer::train_epoch(const std::function<bool()>& stop_requested) {
  const int64_t batches = train_.batches(), accumulate = options_.step.optimizer.accumulate;
  const Clock::time_point start = Clock::now();
  const double seconds_before = state_.epoch_seconds, wait_before = state_.epoch_wait;
  landed_batches_ = state_.batch;
  const int64_t first = state_.batch;
  int64_t images = 0;
  bool stopped = false;

  // Brings the books up to the last queued step.
  const auto settle = [&] {
    if (const auto result = step_.finish()) record(*result);
    state_.epoch_seconds = seconds_before + seconds_since(start);
    state_.epoch_wait = wait_before + train_.stats().wait_seconds;
  };

  if (state_.batch < batches) train_.start(state_.epoch, state_.batch);
  while (state_.batch < batches && !stopped) {
    const Batch& batch = train_.next();
    const int64_t index = state_.batch % accumulate;
    const BatchOfStep of{index, std::min(accumulate, batches - (state_.batch - index))};
    const auto result =
        step_.run(batch, static_cast<uint64_t>(state_.steps), learning_rate(state_.steps), of);
    if (result) record(*result);
    ++state_.batch;
    images += batch.n;
    if (of.last()) ++state_.steps;

    // A checkpoint holds no half steps.
    stopped = of.last() && stop_requested();
    const bool due = of.last() && seconds_since(last_checkpoint_) >= options_.checkpoint_seconds;
    if (state_.batch == batches || stopped || due) settle();
    if (stopped || due) checkpoint();
    observer_.on_step(progress(first, images, seconds_since(start)));
  }
  return !stopped;
}

EpochRecord Trainer::finish_epoch(const Evaluation& validation,
                                  Clock::time_point validation_start) {
  EpochRecord record;
  record.val_loss = validation.mean_loss;
  record.scores = compute_metrics(validation.confusion, options_.absent).scores;
  record.epoch = ++state_.epoch;
  record.step = state_.steps;
  const auto batches = static_cast<double>(state_.batch);
  record.train_loss = state_.loss_sum / batches;
  const std::span<const LossTerm> terms = options_.step.loss.used();
  for (size_t k = 0; k < terms.size(); ++k) {
    const std::string name(name_of(terms[k]));
    record.terms.push_back({"train_" + name, state_.term_sums[name] / batches});
    record.terms.push_back({"val_" + name, validation.mean_terms[k]});
  }
  const auto add_training_term = [&](const char* name) {
    record.terms.push_back({fmt::format("train_{}", name), state_.term_sums[name] / batches});
  };
  if (step_.plan().outputs() > 1) add_training_term(kAuxiliary);
  if (options_.step.teacher) add_training_term(kTeacher);
  record.lr = static_cast<double>(learning_rate(state_.steps - 1));
  const double images = batches * static_cast<double>(step_.plan().input().shape.n);
  record.images_per_second = images / state_.epoch_seconds;
  record.data_wait_seconds = state_.epoch_wait;
  validation_seconds_ = seconds_since(validation_start);
  record.seconds = state_.epoch_seconds + validation_seconds_;
  state_.metrics.clear();
  for (const Score& s : record.scores) state_.metrics[s.name] = s.value;
  state_.metrics["val_loss"] = record.val_loss;
  state_.batch = 0;
  state_.term_sums.clear();
  state_.loss_sum = state_.epoch_seconds = state_.epoch_wait = 0;
  return record;
}

void Trainer::keep(EpochRecord& record, Evaluation validation) {
  // A model is worth keeping even if no class could be scored.
  const double found = merit_of(record, options_.best_by);
  const double merit = std::isnan(found) ? RunState::kNoMerit : found;
  record.best = merit > state_.best_merit || state_.best_epoch == 0;
  if (state_.waited_epoch == 0 || merit > state_.waited_merit + options_.min_delta) {
    state_.waited_merit = merit;
    state_.waited_epoch = record.epoch;
  }
  if (options_.evaluated) options_.evaluated(record, validation);
  const bool kept = options_.keep_every > 0 && record.epoch % options_.keep_every == 0;
  if (!record.best && !kept && options_.average == 0) return;
  const Snapshot model = Snapshot::of_model(model_parameters());
  check_finite(model.finite());
  best_epochs_->offer(found, model, options_.info, state_);
  if (kept) model.write(files_.of_epoch(record.epoch), options_.info, state_);
  if (!record.best) return;
  state_.best_merit = merit;
  state_.best_epoch = record.epoch;
  files_.write_best(model, options_.info, state_);
  state_.best_metrics = state_.metrics;
  best_ = std::move(validation);
}

bool Trainer::write_average(const std::function<bool()>& stop_requested) {
  const std::vector<int64_t> epochs = best_epochs_->epochs();
  if (epochs.empty()) return true;
  best_epochs_->average_into(model_parameters());
  const Snapshot model = Snapshot::of_model(model_parameters());
  const std::optional<Evaluation> validation =
      evaluate(evaluator_, val_, {}, [&](int64_t done, int64_t total) {
        observer_.on_validation(done, total);
        return done == total || !stop_requested();
      });
  if (!validation) return false;
  TrainingObserver::Average average{epochs, {}, validation->mean_loss};
  average.scores = compute_metrics(validation->confusion, options_.absent).scores;
  RunState state = state_;
  state.metrics.clear();
  for (const Score& score : average.scores) state.metrics[score.name] = score.value;
  state.metrics["val_loss"] = average.val_loss;
  model.write(files_.average(), options_.info, state);
  observer_.on_average(average);
  return true;
}

TrainingEnd Trainer::run(const std::function<bool()>& stop_requested) {
  files_.begin(state_);
  if (options_.keep_every > 0) std::filesystem::create_directories(files_.models());
  best_epochs_.emplace(files_.models(), options_.average, state_.epoch);
  if (!files_.has_checkpoint()) checkpoint();  // so that there is one whenever the process dies
  while (true) {
    try {
      const TrainingEnd end = train(stop_requested);
      const bool goes_on = end == TrainingEnd::interrupted || end == TrainingEnd::paused;
      return goes_on || write_average(stop_requested) ? end : TrainingEnd::interrupted;
    } catch (const NotFinite& failure) {
      if (state_.recoveries >= options_.recoveries) {
        if (saved_steps_ == 0) files_.remove_checkpoint();  // nothing is lost, and the name is free
        throw;
      }
      recover(failure.reason());
    }
  }
}

std::optional<TrainingEnd> Trainer::ended() const {
  if (state_.epoch >= options_.epochs) return TrainingEnd::finished;
  if (options_.patience > 0 && state_.waited_epoch > 0 &&
      state_.epoch - state_.waited_epoch >= options_.patience) {
    return TrainingEnd::stopped_early;
  }
  if (options_.stop_epoch > 0 && state_.epoch >= options_.stop_epoch) return TrainingEnd::paused;
  return std::nullopt;
}

TrainingEnd Trainer::train(const std::function<bool()>& stop_requested) {
  last_checkpoint_ = Clock::now();
  int64_t phase_end = state_.epoch;
  while (true) {
    if (const auto end = ended()) return *end;
    if (state_.epoch >= phase_end) phase_end = begin_phase();
    if (!train_epoch(stop_requested)) return TrainingEnd::interrupted;

    const Clock::time_point validation_start = Clock::now();
    std::optional<Evaluation> validation =
        evaluate(evaluator_, val_, options_.samples, [&](int64_t done, int64_t total) {
          observer_.on_validation(done, total);
          return done == total || !stop_requested();
        });
    if (!validation) {
      checkpoint();
      return TrainingEnd::interrupted;
    }
    EpochRecord record = finish_epoch(*validation, validation_start);
    keep(record, std::move(*validation));
    files_.log().epoch(record);
    checkpoint();
    best_epochs_->settle();
    observer_.on_epoch(record);
    if (stop_requested()) return TrainingEnd::interrupted;
  }
}

}  // namespace macadam
