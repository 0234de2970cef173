#include "engine/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace macadam {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// State of the optimiser in a model file: a prefix and the parameter's name.
constexpr const char* kMoments[] = {"moment1.", "moment2."};
constexpr Parameters::Field kMomentFields[] = {Parameters::Field::moment1,
                                               Parameters::Field::moment2};
constexpr const char* kAverage = "ema.";
constexpr const char* kUpdates = "updates.";  // a count, as PyTorch's "step"

/// A loss scale that no run comes down to as long as some steps have finite gradients.
constexpr float kSmallestLossScale = 0x1p-24f;

/// Host copies of one field of all parameters, and the views a model file is written from.
class Snapshot {
 public:
  void add(const Parameters& parameters, Parameters::Field field, const std::string& prefix) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      const ParameterSpec& spec = parameters.specs()[i];
      if (field != Parameters::Field::value && !spec.trainable()) continue;
      add(prefix + spec.name, spec.file_shape(), parameters.read(i, field));
    }
  }
  void add(const std::string& name, TensorShape shape, std::vector<float> values) {
    values_.push_back(std::move(values));
    for (float v : values_.back()) finite_ = finite_ && std::isfinite(v);
    views_[name] = {std::move(shape), values_.back()};
  }
  const std::map<std::string, ModelTensorView>& views() const { return views_; }
  bool finite() const { return finite_; }

 private:
  std::vector<std::vector<float>> values_;  // moving a vector keeps its data in place
  std::map<std::string, ModelTensorView> views_;
  bool finite_ = true;
};

/// The optimiser's tensor of that name. Throws InputError when the file has none of that shape.
const std::vector<float>& optimizer_tensor(const Model& model, const std::string& name,
                                           const TensorShape& shape,
                                           const std::filesystem::path& file) {
  const auto found = model.optimizer.find(name);
  if (found == model.optimizer.end() || found->second.shape != shape) {
    throw InputError("the checkpoint lacks optimiser state '" + name + "'", file.string(),
                     "start a new run with weights = \"" + file.string() + '"');
  }
  return found->second.values;
}

double progress_of(const Model& model, const char* key, const std::filesystem::path& file) {
  const auto found = model.info.progress.find(key);
  if (found == model.info.progress.end()) {
    throw InputError(fmt::format("the checkpoint lacks '{}'", key), file.string(),
                     "start a new run with weights = \"" + file.string() + '"');
  }
  return found->second;
}

/// `value` as a whole number up to `most`; `name` is what the checkpoint calls it.
template <typename Count>
Count count_of(double value, double most, const std::string& name,
               const std::filesystem::path& file) {
  if (!(value >= 0 && value <= most)) {
    throw InputError(fmt::format("the checkpoint's '{}' is {}", name, value), file.string(),
                     fmt::format("expected 0 to {:.0f}: use another checkpoint", most));
  }
  return static_cast<Count>(value);
}

ParameterShapes shapes_of(const Parameters& parameters) {
  ParameterShapes shapes;
  for (const ParameterSpec& spec : parameters.specs()) shapes[spec.name] = spec.file_shape();
  return shapes;
}

/// `graph`, after a check that the options fit it.
const Graph& checked(const Graph& graph, const TrainerOptions& options) {
  check_fine_tuning(options.fine_tuning, graph);
  return graph;
}

EvaluatorOptions evaluator_options(const TrainingStepOptions& step) {
  return {step.dtype, step.loss, step.class_weights, step.normalization};
}

}  // namespace

void load_parameters(const Model& model, Parameters& parameters, std::string_view file) {
  match_parameters(shapes_of(parameters), model.parameters, file);
  for (size_t i = 0; i < parameters.size(); ++i) {
    parameters.write(i, Parameters::Field::value,
                     model.parameters.at(parameters.specs()[i].name).values);
  }
}

Trainer::Trainer(const Graph& train_graph, const Graph& val_graph, Parameters& parameters,
                 Stream& stream, Ops& ops, BatchSource& train, BatchSource& val,
                 const TrainerOptions& options, TrainingObserver& observer)
    : parameters_(parameters),
      train_(train),
      val_(val),
      options_(options),
      observer_(observer),
      step_(with_frozen_batch_norms(options.fine_tuning, checked(train_graph, options)), parameters,
            stream, ops, options.step),
      evaluator_(val_graph, model_parameters(), stream, ops, evaluator_options(options.step)) {}

Parameters& Trainer::model_parameters() {
  Parameters* const averages = step_.optimizer().averages();
  return averages == nullptr ? parameters_ : *averages;
}

void Trainer::resume() {
  const std::filesystem::path file = options_.folder / "last.safetensors";
  if (!std::filesystem::exists(file)) {
    throw InputError("no checkpoint to resume from", file.string(), "train without --resume");
  }
  const Model model = load_model(file, ModelPart::everything);
  load_parameters(model, parameters_, file.string());
  const auto progress = [&](const char* key) { return progress_of(model, key, file); };
  if (progress("batches") != static_cast<double>(train_.batches())) {
    throw InputError(fmt::format("the run was begun with {} batches an epoch, now there are {}",
                                 progress("batches"), train_.batches()),
                     file.string(), "resume with the same training images and batch size");
  }
  epoch_ = model.info.epoch;
  steps_ = model.info.step;
  batch_ = static_cast<int64_t>(progress("batch"));
  loss_sum_ = progress("loss_sum");
  epoch_seconds_ = progress("epoch_seconds");
  epoch_wait_ = progress("epoch_wait");
  if (batch_ % options_.step.optimizer.accumulate != 0 && batch_ != train_.batches()) {
    throw InputError(fmt::format("the checkpoint was taken after batch {} of an epoch", batch_),
                     file.string(), "resume with the same accumulate");
  }
  best_score_ = progress("best_score");
  best_epoch_ = static_cast<int64_t>(progress("best_epoch"));
  last_metrics_ = model.info.metrics;
  restore_optimizer(model, file);
  step_.pack_weights();
}

void Trainer::restore_optimizer(const Model& model, const std::filesystem::path& file) {
  Optimizer& optimizer = step_.optimizer();
  OptimizerProgress progress = optimizer.progress(0);
  const auto steps = static_cast<double>(steps_);
  // Files of older versions do not count: every parameter has taken all steps there.
  const bool counted = std::ranges::any_of(
      model.optimizer, [](const auto& tensor) { return tensor.first.starts_with(kUpdates); });
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const ParameterSpec& spec = parameters_.specs()[i];
    if (Parameters* const averages = optimizer.averages()) {
      averages->write(i, Parameters::Field::value,
                      optimizer_tensor(model, kAverage + spec.name, spec.file_shape(), file));
    }
    if (!spec.trainable()) continue;
    for (size_t m = 0; m < std::size(kMoments); ++m) {
      parameters_.write(i, kMomentFields[m],
                        optimizer_tensor(model, kMoments[m] + spec.name, spec.file_shape(), file));
    }
    progress.updates[i] = static_cast<uint64_t>(steps_);
    if (!counted) continue;
    const std::string name = kUpdates + spec.name;
    progress.updates[i] = count_of<uint64_t>(
        static_cast<double>(optimizer_tensor(model, name, {1}, file)[0]), steps, name, file);
  }
  if (optimizer.loss_scale() != nullptr) {
    const auto count = [&](const char* key, double most) {
      return count_of<uint32_t>(progress_of(model, key, file), most, key, file);
    };
    GradientState& gradient = progress.gradient;
    gradient.loss_scale = static_cast<float>(progress_of(model, "loss_scale", file));
    gradient.good_steps = count("good_steps", GradScaler::kGrowthInterval - 1);
    gradient.skipped = count("skipped_steps", steps);
    if (!std::isfinite(gradient.loss_scale) || gradient.loss_scale < kSmallestLossScale) {
      throw InputError(fmt::format("the checkpoint's 'loss_scale' is {}", gradient.loss_scale),
                       file.string(), "use another checkpoint");
    }
  }
  optimizer.restore(progress, static_cast<uint64_t>(steps_));
}

ModelInfo Trainer::info() const {
  ModelInfo info = options_.info;
  info.epoch = epoch_;
  info.step = steps_;
  info.metrics = last_metrics_;
  return info;
}

void Trainer::check_finite(bool finite) const {
  if (finite) return;
  throw RunError(fmt::format("a weight is not finite after step {}", steps_),
                 options_.folder.string(),
                 "lower lr and continue from the last checkpoint with --resume");
}

void Trainer::save_best() {
  Snapshot values;
  values.add(model_parameters(), Parameters::Field::value, "");
  check_finite(values.finite());
  save_model(options_.folder / "best.safetensors", info(), values.views());
}

void Trainer::save_last() {
  Optimizer& optimizer = step_.optimizer();
  const OptimizerProgress progress = optimizer.progress(static_cast<uint64_t>(steps_));
  Snapshot values, state;
  values.add(parameters_, Parameters::Field::value, "");
  for (size_t m = 0; m < std::size(kMoments); ++m) {
    state.add(parameters_, kMomentFields[m], kMoments[m]);
  }
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const ParameterSpec& spec = parameters_.specs()[i];
    if (!spec.trainable()) continue;
    state.add(kUpdates + spec.name, {1}, {static_cast<float>(progress.updates[i])});
  }
  if (Parameters* const averages = optimizer.averages()) {
    state.add(*averages, Parameters::Field::value, kAverage);
  }
  check_finite(values.finite() && state.finite());
  ModelInfo about = info();
  about.progress = {{"batches", static_cast<double>(train_.batches())},
                    {"batch", static_cast<double>(batch_)},
                    {"loss_sum", loss_sum_},
                    {"epoch_seconds", epoch_seconds_},
                    {"epoch_wait", epoch_wait_},
                    {"best_score", best_score_},
                    {"best_epoch", static_cast<double>(best_epoch_)}};
  if (optimizer.loss_scale() != nullptr) {
    const GradientState& gradient = progress.gradient;
    if (gradient.loss_scale < kSmallestLossScale) {
      throw RunError(
          fmt::format("the gradients are not finite at any loss scale at step {}", steps_),
          options_.folder.string(), "train in bf16 or fp32, or lower lr");
    }
    about.progress["loss_scale"] = static_cast<double>(gradient.loss_scale);
    about.progress["good_steps"] = gradient.good_steps;
    about.progress["skipped_steps"] = gradient.skipped;
  }
  save_model(options_.folder / "last.safetensors", about, values.views(), state.views());
}

void Trainer::checkpoint() {
  log_->flush();
  save_last();
  last_checkpoint_ = Clock::now();
}

void Trainer::record(const StepResult& result) {
  const double loss = static_cast<double>(result.loss.total);
  if (!std::isfinite(loss)) {
    std::string names;
    for (int sample : landed_samples_) {
      if (sample < 0) continue;  // padding
      names += (names.empty() ? "" : ", ") + train_.sample_name(sample);
    }
    throw RunError(fmt::format("the loss became {} at step {}", loss, result.step), names,
                   "lower lr (or check these samples) and continue from the last checkpoint with "
                   "--resume");
  }
  loss_sum_ += loss;
  ++landed_batches_;
  step_loss_ = result.batch.index == 0 ? loss : step_loss_ + loss;
  if (!result.batch.last()) return;
  log_->step(epoch_ + 1, static_cast<int64_t>(result.step),
             step_loss_ / static_cast<double>(result.batch.count),
             static_cast<double>(options_.learning_rate(static_cast<int64_t>(result.step))));
}

int64_t Trainer::begin_phase() {
  const FineTuning& tuning = options_.fine_tuning;
  const std::vector<ParameterSpec>& specs = parameters_.specs();
  const std::vector<float> scales = learning_rate_scales(tuning, specs, epoch_);
  step_.optimizer().set_learning_rate_scales(scales, static_cast<uint64_t>(steps_));
  const int64_t end = end_of_phase(tuning, epoch_);
  step_.freeze(frozen_parameters(scales));
  TrainingObserver::Phase phase{epoch_ + 1, std::min(end, options_.epochs), 0, 0};
  for (size_t i = 0; i < specs.size(); ++i) {
    if (!specs[i].trainable()) continue;
    (scales[i] == 0 ? phase.frozen : phase.trained) += specs[i].shape.elements();
  }
  if (!tuning.freeze.empty()) observer_.on_phase(phase);
  return end;
}

bool Trainer::train_epoch(const std::function<bool()>& stop_requested) {
  const int64_t batches = train_.batches(), accumulate = options_.step.optimizer.accumulate;
  const Clock::time_point start = Clock::now();
  const double seconds_before = epoch_seconds_, wait_before = epoch_wait_;
  landed_batches_ = batch_;
  const int64_t first = batch_;
  int64_t images = 0;
  bool stopped = false;

  // Brings the books up to the last queued step.
  const auto settle = [&] {
    landed_samples_.swap(flying_samples_);
    if (const auto result = step_.finish()) record(*result);
    epoch_seconds_ = seconds_before + seconds_since(start);
    epoch_wait_ = wait_before + train_.stats().wait_seconds;
  };

  if (batch_ < batches) train_.start(epoch_, batch_);
  while (batch_ < batches && !stopped) {
    const Batch& batch = train_.next();
    landed_samples_.swap(flying_samples_);
    flying_samples_.assign(batch.samples.begin(), batch.samples.end());
    const int64_t index = batch_ % accumulate;
    const BatchOfStep of{index, std::min(accumulate, batches - (batch_ - index))};
    const auto result =
        step_.run(batch, static_cast<uint64_t>(steps_), options_.learning_rate(steps_), of);
    if (result) record(*result);
    ++batch_;
    images += batch.n;
    if (of.last()) ++steps_;

    // A checkpoint holds no half steps.
    stopped = of.last() && stop_requested();
    const bool due = of.last() && seconds_since(last_checkpoint_) >= options_.checkpoint_seconds;
    if (batch_ == batches || stopped || due) settle();
    if (stopped || due) checkpoint();
    const double elapsed = seconds_since(start);
    const auto done = static_cast<double>(batch_ - first);
    const SourceStats data = train_.stats();
    observer_.on_step(
        {.epoch = epoch_ + 1,
         .epochs = options_.epochs,
         .batch = batch_,
         .batches = batches,
         .loss = loss_sum_ / static_cast<double>(std::max<int64_t>(landed_batches_, 1)),
         .images_per_second = static_cast<double>(images) / elapsed,
         .seconds = elapsed / done,
         .wait_seconds = data.wait_seconds / done,
         .load_seconds =
             data.load_seconds / static_cast<double>(std::max<int64_t>(data.samples, 1)),
         .ready = data.ready});
  }
  return !stopped;
}

std::optional<EpochSummary> Trainer::validate(const std::function<bool()>& stop_requested) {
  evaluator_.reset();
  const int64_t batches = val_.batches();
  val_.start(0, 0);
  for (int64_t i = 0; i < batches; ++i) {
    evaluator_.add(val_.next());
    observer_.on_validation(i + 1, batches);
    if (i + 1 < batches && stop_requested()) {
      checkpoint();
      return std::nullopt;
    }
  }
  EpochSummary summary;
  summary.val_loss = evaluator_.mean_loss();
  summary.metrics = compute_metrics(evaluator_.confusion(), options_.absent);
  return summary;
}

TrainingEnd Trainer::run(const std::function<bool()>& stop_requested) {
  log_ = std::make_unique<RunLog>(options_.folder, epoch_, steps_);
  last_checkpoint_ = Clock::now();
  int64_t phase_end = epoch_;
  while (epoch_ < options_.epochs) {
    if (options_.patience > 0 && best_epoch_ > 0 && epoch_ - best_epoch_ >= options_.patience) {
      return TrainingEnd::stopped_early;
    }
    if (epoch_ >= phase_end) phase_end = begin_phase();
    if (!train_epoch(stop_requested)) return TrainingEnd::interrupted;

    const Clock::time_point validation_start = Clock::now();
    std::optional<EpochSummary> validated = validate(stop_requested);
    if (!validated) return TrainingEnd::interrupted;
    EpochSummary& summary = *validated;
    summary.epoch = ++epoch_;
    summary.step = steps_;
    summary.train_loss = loss_sum_ / static_cast<double>(batch_);
    summary.lr = static_cast<double>(options_.learning_rate(steps_ - 1));
    const double images =
        static_cast<double>(batch_) * static_cast<double>(step_.plan().input().shape.n);
    summary.images_per_second = images / epoch_seconds_;
    summary.data_wait_seconds = epoch_wait_;
    summary.seconds = epoch_seconds_ + seconds_since(validation_start);
    last_metrics_ = summary.metrics.scalars();
    last_metrics_["val_loss"] = summary.val_loss;

    batch_ = 0;
    loss_sum_ = epoch_seconds_ = epoch_wait_ = 0;
    // A model is worth keeping even if no class could be scored (mean IoU is then NaN).
    if (summary.metrics.mean_iou > best_score_ || best_epoch_ == 0) {
      best_score_ = std::isnan(summary.metrics.mean_iou) ? -1 : summary.metrics.mean_iou;
      best_epoch_ = epoch_;
      summary.best = true;
      save_best();
    }
    log_->epoch(summary);
    checkpoint();
    observer_.on_epoch(summary);
    if (stop_requested()) return TrainingEnd::interrupted;
  }
  return TrainingEnd::finished;
}

}  // namespace macadam
