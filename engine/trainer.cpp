#include "engine/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace macadam {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Host copies of one field of all parameters, and the views a model file is written from.
class Snapshot {
 public:
  void add(const Parameters& parameters, Parameters::Field field, const std::string& prefix) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      const ParameterSpec& spec = parameters.specs()[i];
      if (field != Parameters::Field::value && !spec.trainable()) continue;
      values_.push_back(parameters.read(i, field));
      for (float v : values_.back()) finite_ = finite_ && std::isfinite(v);
      views_[prefix + spec.name] = {spec.file_shape(), values_.back()};
    }
  }
  const std::map<std::string, ModelTensorView>& views() const { return views_; }
  bool finite() const { return finite_; }

 private:
  std::vector<std::vector<float>> values_;  // moving a vector keeps its data in place
  std::map<std::string, ModelTensorView> views_;
  bool finite_ = true;
};

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
      evaluator_(val_graph, parameters, stream, ops, evaluator_options(options.step)) {}

void Trainer::resume() {
  const std::filesystem::path file = options_.folder / "last.safetensors";
  if (!std::filesystem::exists(file)) {
    throw InputError("no checkpoint to resume from", file.string(), "train without --resume");
  }
  const Model model = load_model(file, ModelPart::everything);
  load_parameters(model, parameters_, file.string());
  const std::pair<Parameters::Field, std::string> moments[] = {
      {Parameters::Field::moment1, "moment1."}, {Parameters::Field::moment2, "moment2."}};
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const ParameterSpec& spec = parameters_.specs()[i];
    if (!spec.trainable()) continue;
    for (const auto& [field, prefix] : moments) {
      const auto found = model.optimizer.find(prefix + spec.name);
      if (found == model.optimizer.end() || found->second.shape != spec.file_shape()) {
        throw InputError("the checkpoint lacks optimiser state '" + prefix + spec.name + "'",
                         file.string(), "start a new run with weights = \"" + file.string() + '"');
      }
      parameters_.write(i, field, found->second.values);
    }
  }
  const auto progress = [&](const char* key) {
    const auto found = model.info.progress.find(key);
    if (found == model.info.progress.end()) {
      throw InputError(fmt::format("the checkpoint lacks '{}'", key), file.string(),
                       "start a new run with weights = \"" + file.string() + '"');
    }
    return found->second;
  };
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
  best_score_ = progress("best_score");
  best_epoch_ = static_cast<int64_t>(progress("best_epoch"));
  last_metrics_ = model.info.metrics;
  step_.pack_weights();
}

void Trainer::save(const std::string& file, bool with_optimizer) {
  Snapshot values, moments;
  values.add(parameters_, Parameters::Field::value, "");
  if (with_optimizer) {
    moments.add(parameters_, Parameters::Field::moment1, "moment1.");
    moments.add(parameters_, Parameters::Field::moment2, "moment2.");
  }
  if (!values.finite() || !moments.finite()) {
    throw RunError(fmt::format("a weight is not finite after step {}", steps_),
                   options_.folder.string(),
                   "lower lr and continue from the last checkpoint with --resume");
  }
  ModelInfo info = options_.info;
  info.epoch = epoch_;
  info.step = steps_;
  info.metrics = last_metrics_;
  if (with_optimizer) {
    info.progress = {{"batches", static_cast<double>(train_.batches())},
                     {"batch", static_cast<double>(batch_)},
                     {"loss_sum", loss_sum_},
                     {"epoch_seconds", epoch_seconds_},
                     {"epoch_wait", epoch_wait_},
                     {"best_score", best_score_},
                     {"best_epoch", static_cast<double>(best_epoch_)}};
  }
  save_model(options_.folder / file, info, values.views(), moments.views());
}

void Trainer::checkpoint() {
  log_->flush();
  save("last.safetensors", true);
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
  log_->step(epoch_ + 1, static_cast<int64_t>(result.step), loss,
             static_cast<double>(options_.learning_rate(static_cast<int64_t>(result.step))));
}

int64_t Trainer::begin_phase() {
  const FineTuning& tuning = options_.fine_tuning;
  const std::vector<ParameterSpec>& specs = parameters_.specs();
  const std::vector<float> scales = learning_rate_scales(tuning, specs, epoch_);
  step_.set_learning_rate_scales(scales);
  const int64_t end = end_of_phase(tuning, epoch_);
  TrainingObserver::Phase phase{epoch_ + 1, std::min(end, options_.epochs), 0, 0};
  for (size_t i = 0; i < specs.size(); ++i) {
    if (!specs[i].trainable()) continue;
    (scales[i] == 0 ? phase.frozen : phase.trained) += specs[i].shape.elements();
  }
  if (!tuning.freeze.empty()) observer_.on_phase(phase);
  return end;
}

bool Trainer::train_epoch(const std::function<bool()>& stop_requested) {
  const int64_t batches = train_.batches();
  const Clock::time_point start = Clock::now();
  const double seconds_before = epoch_seconds_, wait_before = epoch_wait_;
  landed_batches_ = batch_;
  int64_t images = 0;
  bool stopped = false;

  // Brings the books up to the last queued step.
  const auto settle = [&] {
    landed_samples_.swap(flying_samples_);
    if (const auto result = step_.finish()) record(*result);
    epoch_seconds_ = seconds_before + seconds_since(start);
    epoch_wait_ = wait_before + train_.wait_seconds();
  };

  if (batch_ < batches) train_.start(epoch_, batch_);
  while (batch_ < batches && !stopped) {
    const Batch& batch = train_.next();
    landed_samples_.swap(flying_samples_);
    flying_samples_.assign(batch.samples.begin(), batch.samples.end());
    const auto result =
        step_.run(batch, static_cast<uint64_t>(steps_), options_.learning_rate(steps_));
    if (result) record(*result);
    ++steps_;
    ++batch_;
    images += batch.n;

    stopped = stop_requested();
    const bool due = seconds_since(last_checkpoint_) >= options_.checkpoint_seconds;
    if (batch_ == batches || stopped || due) settle();
    if (stopped || due) checkpoint();
    const double elapsed = seconds_since(start);
    observer_.on_step({epoch_ + 1, options_.epochs, batch_, batches,
                       loss_sum_ / static_cast<double>(std::max<int64_t>(landed_batches_, 1)),
                       static_cast<double>(images) / elapsed, train_.wait_seconds() / elapsed});
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
      save("best.safetensors", false);
    }
    log_->epoch(summary);
    checkpoint();
    observer_.on_epoch(summary);
    if (stop_requested()) return TrainingEnd::interrupted;
  }
  return TrainingEnd::finished;
}

}  // namespace macadam
