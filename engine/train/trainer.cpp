#include "engine/train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "base/text.h"

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

/// What a checkpoint says of the run beside its tensors, whatever stands in the file.
class SavedProgress {
 public:
  SavedProgress(const Model& model, const std::filesystem::path& file)
      : values_(model.info.progress), file_(file) {}

  /// A number from `least` to `most`.
  double number(const char* key, double least, double most) const {
    const auto found = values_.find(key);
    if (found == values_.end()) fail(fmt::format("the checkpoint lacks '{}'", key));
    const double value = found->second;
    if (!(value >= least && value <= most)) {  // NaN too
      fail(fmt::format("the checkpoint's '{}' is {}, not from {:.10g} to {:.10g}", key, value,
                       least, most));
    }
    return value;
  }
  /// The same, without a fraction.
  int64_t count(const char* key, int64_t least, int64_t most) const {
    const double value = number(key, static_cast<double>(least), static_cast<double>(most));
    if (value != std::floor(value)) fail(fmt::format("the checkpoint's '{}' is {}", key, value));
    return static_cast<int64_t>(value);
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(what, file_.string(),
                     "start a new run with weights = \"" + file_.string() + '"');
  }

 private:
  const std::map<std::string, double>& values_;
  const std::filesystem::path& file_;
};

constexpr double kAny = std::numeric_limits<double>::max();

/// Throws InputError unless a checkpoint is of the model that is to be trained on.
void check_same_model(const ModelInfo& begun, const ModelInfo& now,
                      const std::filesystem::path& file) {
  const auto fail = [&](const std::string& what, std::string_view remedy) {
    throw InputError(what, file.string(), remedy);
  };
  const auto classes = [](const ModelInfo& info) {
    std::vector<std::string> items;
    for (size_t c = 0; c < info.class_names.size(); ++c) {
      items.push_back(fmt::format("{} (id {})", quote(info.class_names[c]), info.inverse_ids[c]));
    }
    return items;
  };
  const auto then_classes = classes(begun), now_classes = classes(now);
  const size_t common = std::min(then_classes.size(), now_classes.size());
  for (size_t c = 0; c < common; ++c) {
    if (then_classes[c] == now_classes[c]) continue;
    fail(fmt::format("class {} is {}, but the run was begun with {}", c, now_classes[c],
                     then_classes[c]),
         "restore the classes, or train under another name");
  }
  if (then_classes.size() != now_classes.size()) {
    fail(fmt::format("there are {} classes, but the run was begun with {}", now_classes.size(),
                     then_classes.size()),
         "restore the classes, or train under another name");
  }
  if (begun.precision != now.precision) {
    fail(fmt::format("the precision is {}, but the run was begun in {}", now.precision,
                     quote(begun.precision)),
         fmt::format("resume with precision={}, or train under another name",
                     quote(begun.precision)));
  }
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
  check_same_model(model.info, options_.info, file);
  const SavedProgress progress(model, file);
  const int64_t batches = train_.batches(), accumulate = options_.step.optimizer.accumulate;
  const double begun_batches = progress.number("batches", 0, kAny);
  if (begun_batches != static_cast<double>(batches)) {
    throw InputError(fmt::format("the run was begun with {} batches an epoch, now there are {}",
                                 begun_batches, batches),
                     file.string(), "resume with the same training images and batch size");
  }
  epoch_ = model.info.epoch;
  steps_ = model.info.step;
  batch_ = progress.count("batch", 0, batches);
  loss_sum_ = progress.number("loss_sum", -kAny, kAny);
  epoch_seconds_ = progress.number("epoch_seconds", 0, kAny);
  epoch_wait_ = progress.number("epoch_wait", 0, kAny);
  if (batch_ % accumulate != 0 && batch_ != batches) {
    throw InputError(fmt::format("the checkpoint was taken after batch {} of an epoch", batch_),
                     file.string(), "resume with the same accumulate");
  }
  const auto steps_of = [&](int64_t n) { return (n + accumulate - 1) / accumulate; };
  const int64_t in_epoch = steps_of(batch_), an_epoch = steps_of(batches);
  if (steps_ < in_epoch || (steps_ - in_epoch) % an_epoch != 0 ||
      (steps_ - in_epoch) / an_epoch != epoch_) {
    progress.fail(fmt::format("the checkpoint's {} steps are not those of {} epochs and {} batches",
                              steps_, epoch_, batch_));
  }
  best_score_ = progress.number("best_score", -1, 1);
  best_epoch_ = progress.count("best_epoch", std::min<int64_t>(epoch_, 1), epoch_);
  if (best_epoch_ > 0) {
    const std::filesystem::path best = options_.folder / "best.safetensors";
    const Model model_of_best = load_model(best);
    match_parameters(shapes_of(parameters_), model_of_best.parameters, best.string());
    const auto loss = model_of_best.info.metrics.find("val_loss");
    if (loss != model_of_best.info.metrics.end()) best_val_loss_ = loss->second;
  }
  last_metrics_ = model.info.metrics;
  restore_optimizer(model, file);
  step_.pack_weights();
}

void Trainer::restore_optimizer(const Model& model, const std::filesystem::path& file) {
  Optimizer& optimizer = step_.optimizer();
  OptimizerProgress progress = optimizer.progress(0);
  const SavedProgress saved(model, file);
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
    const float updates = optimizer_tensor(model, name, {1}, file)[0];
    if (!(updates >= 0 && updates <= static_cast<float>(steps_) &&
          updates == std::floor(updates))) {
      saved.fail(fmt::format("the checkpoint's '{}' is {}", name, updates));
    }
    progress.updates[i] = static_cast<uint64_t>(updates);
  }
  if (optimizer.loss_scale() != nullptr) {
    GradientState& gradient = progress.gradient;
    gradient.loss_scale =
        static_cast<float>(saved.number("loss_scale", static_cast<double>(kSmallestLossScale),
                                        static_cast<double>(std::numeric_limits<float>::max())));
    gradient.good_steps =
        static_cast<uint32_t>(saved.count("good_steps", 0, GradScaler::kGrowthInterval - 1));
    gradient.skipped = static_cast<uint32_t>(saved.count("skipped_steps", 0, steps_));
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

std::string Trainer::train_anew(std::string_view how) const {
  if (std::isfinite(best_val_loss_)) {
    return fmt::format("{}, and train under another name, from the best epoch's weights={}", how,
                       (options_.folder / "best.safetensors").string());
  }
  const bool begun = std::filesystem::exists(options_.folder / "last.safetensors");
  return fmt::format("{}, and train {}", how, begun ? "under another name" : "again");
}

void Trainer::check_finite(bool finite) const {
  if (finite) return;
  throw RunError(fmt::format("a weight is not finite after step {}", steps_),
                 options_.folder.string(), train_anew("lower lr"));
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
          options_.folder.string(), train_anew("take bf16 or fp32, or lower lr"));
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
                   train_anew("lower lr (or check these samples)"));
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

std::optional<EpochRecord> Trainer::validate(const std::function<bool()>& stop_requested) {
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
  EpochRecord record;
  record.val_loss = evaluator_.mean_loss();
  record.scores = compute_metrics(evaluator_.confusion(), options_.absent).scores;
  return record;
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
    std::optional<EpochRecord> validated = validate(stop_requested);
    if (!validated) return TrainingEnd::interrupted;
    EpochRecord& record = *validated;
    record.epoch = ++epoch_;
    record.step = steps_;
    record.train_loss = loss_sum_ / static_cast<double>(batch_);
    record.lr = static_cast<double>(options_.learning_rate(steps_ - 1));
    const double images =
        static_cast<double>(batch_) * static_cast<double>(step_.plan().input().shape.n);
    record.images_per_second = images / epoch_seconds_;
    record.data_wait_seconds = epoch_wait_;
    record.seconds = epoch_seconds_ + seconds_since(validation_start);
    last_metrics_.clear();
    for (const Score& s : record.scores) last_metrics_[s.name] = s.value;
    last_metrics_["val_loss"] = record.val_loss;

    batch_ = 0;
    loss_sum_ = epoch_seconds_ = epoch_wait_ = 0;
    // A model is worth keeping even if no class could be scored (mean IoU is then NaN).
    const double score = record.scores.front().value;
    if (score > best_score_ || best_epoch_ == 0) {
      best_score_ = std::isnan(score) ? -1 : score;
      best_epoch_ = epoch_;
      record.best = true;
      save_best();
      best_val_loss_ = record.val_loss;
    }
    log_->epoch(record);
    checkpoint();
    observer_.on_epoch(record);
    if (stop_requested()) return TrainingEnd::interrupted;
  }
  return TrainingEnd::finished;
}

}  // namespace macadam
