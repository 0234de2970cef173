#include "run/training_run.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/to_size.h"
#include "engine/plan/precision.h"
#include "kernels/self_test.h"
#include "models/conversion.h"
#include "models/loaded_model.h"
#include "run/auto_batch.h"
#include "run/class_weights.h"
#include "run/epoch_samples.h"
#include "run/loader_options.h"
#include "run/new_model.h"
#include "run/resume.h"
#include "run/run_folder.h"
#include "run/run_report.h"
#include "run/scoring.h"
#include "run/teacher.h"
#include "run/tracking/mlflow.h"
#include "run/tracking/run_tracking.h"
#include "run/training_data.h"

namespace macadam {

namespace {

constexpr KeptSamples kReportSamples{.spread = 6, .extremes = 3};

ModelInfo model_info(const Config& config, const LabelSet& labels, DType dtype) {
  ModelInfo info = new_model_info(labels);
  info.network = config.network;
  info.network_options = config.network_options;
  info.height = config.height;
  info.width = config.width;
  info.normalization = config.normalization;
  info.precision = precision_name(dtype);
  info.seed = config.seed;
  return info;
}

void check_accumulation(const Config& config, int64_t batches_an_epoch, bool profile) {
  const int64_t accumulate = config.optimizer.accumulate;
  if (accumulate > batches_an_epoch) {
    throw InputError(
        fmt::format("a step of {} batches, but an epoch has {}", accumulate, batches_an_epoch),
        "accumulate", fmt::format("use at most {}", batches_an_epoch));
  }
  if (profile && accumulate > 1) {
    throw InputError("a profile is of one batch a step", "accumulate", "profile with accumulate=1");
  }
}

/// A run that has been found in order, before there is a network.
struct CheckedRun {
  Config config;
  std::unique_ptr<RunFolder> folder;  // when it is there already
  DeviceInfo device;
  DType dtype = DType::f32;
  TrainingData data;
  RunData run_data;
  std::vector<float> class_weights;  // in the loss
  std::optional<TeacherFile> teacher;
  std::string notice;  // where steps follow
};

CheckedRun check_run(Config given, const TrainingRunOptions& options, Observer& observer) {
  CheckedRun run;
  run.config = std::move(given);
  Config& config = run.config;
  std::optional<BegunRun> begun;
  if (!config.mlflow.empty()) check_mlflow_address(config.mlflow);
  if (options.resume) {
    begun = read_begun_run(run_folder(config));
    keep_begun_defaults(config, *begun);
  }
  if (!options.profile && std::filesystem::exists(run_folder(config))) {
    run.folder = std::make_unique<RunFolder>(run_folder(config), options.resume, observer);
  }
  run.device = device_info(parse_device(config.device));
  run.dtype = resolve_precision(name_of(config.precision), run.device);
  require_sound_convolutions(run.device.device, run.dtype);
  if (begun) check_same_configuration(config, *begun);
  run.data = open_training_data(config, observer);
  const LabelSet& labels = run.data.train_labels;
  run.teacher = open_teacher(config, labels);
  run.run_data = run_data_of(run.data.train, run.data.val, labels);
  if (run.teacher) run.run_data.teacher = run.teacher->hash;
  run.run_data.compute = compute_of(run.device);
  if (begun) {
    check_same_data(config, run.run_data, *begun, options.dataset_moved);
    run.notice = compute_notice(run.run_data.compute, *begun);
  }
  run.class_weights = resolve_class_weights(
      config, run.data, begun && begun->data ? begun->data->class_weights : std::vector<float>(),
      observer);
  if (config.class_weighting) run.run_data.class_weights = run.class_weights;
  check_fill_labels(config.augment, labels.classes());
  if (config.auto_batch) {
    config.batch =
        choose_batch(config, labels.classes(), run.teacher ? &run.teacher->model.info : nullptr,
                     run.data.train.samples.size(), run.device.device, run.dtype, observer);
    config.auto_batch = false;
  }
  return run;
}

/// The graph of the configured network. For a new run, pretrained weights, and else the network,
/// decide on options and normalisation that `config` leaves open; a resumed one has them.
Graph make_graph(Config& config, int classes, bool resume, std::optional<WeightImport>& weights) {
  const NetworkEntry& entry = find_segmentation_network(config.network);
  const Shape input{config.batch, config.height, config.width, 3};
  NetworkSpec spec{config.network, classes, config.network_options};
  Graph graph = build_network(spec, input);
  if (!resume) {
    WeightNeeds needs{{}, entry.normalization};
    if (!config.weights.empty()) {
      weights.emplace(config.weights, spec, graph);
      needs = needs_of(*weights, spec);
    }
    if (!config.own_normalization) config.normalization = needs.normalization;
    if (!needs.options.empty()) {
      config.network_options.insert(needs.options.begin(), needs.options.end());
      spec.options = config.network_options;
      graph = build_network(spec, input);
    }
  }
  check_fine_tuning(config.fine_tuning, graph);
  return graph;
}

/// Loader options of both splits, and the device's cache of training samples.
struct Loading {
  LoaderOptions train, val;
  std::optional<DeviceCache> cache;

  Loading(const CheckedRun& run, Observer& observer)
      : train(loader_options(run.config, run.device.device, true, observer)),
        val(loader_options(run.config, run.device.device, false, observer)),
        cache(
            make_device_cache(run.config, train, static_cast<int>(run.data.train.samples.size()))) {
    if (cache) train.device_cache = &*cache;
    // The memory for decoded samples is divided between the two by their numbers.
    const size_t val_samples = run.data.val.samples.size();
    const size_t bytes = train.cache_bytes, all = run.data.train.samples.size() + val_samples;
    val.cache_bytes = bytes / all * val_samples;
    train.cache_bytes = bytes - val.cache_bytes;
  }
  Loading(const Loading&) = delete;
  Loading& operator=(const Loading&) = delete;
};

TrainerOptions trainer_options(const CheckedRun& run, std::optional<DeviceCache>& cache,
                               int64_t batches_an_epoch, bool profile) {
  const Config& config = run.config;
  check_accumulation(config, batches_an_epoch, profile);
  const int64_t accumulate = config.optimizer.accumulate;
  const Schedule schedule = schedule_of(config, (batches_an_epoch + accumulate - 1) / accumulate);
  TrainerOptions options;
  options.folder = run_folder(config);
  options.epochs = config.epochs;
  options.learning_rate = [schedule](int64_t step) {
    return static_cast<float>(learning_rate(schedule, step));
  };
  options.step.dtype = run.dtype;
  options.step.loss = with_classes(config.loss, run.data.train_labels.classes());
  options.step.class_weights = run.class_weights;
  options.step.optimizer = config.optimizer;
  options.step.normalization = config.normalization;
  options.step.seed = config.seed;
  options.step.cache = cache ? &*cache : nullptr;
  options.fine_tuning = config.fine_tuning;
  options.absent = config.absent;
  options.best_by = config.best_by;
  options.patience = config.patience;
  options.min_delta = config.min_delta;
  options.average = config.average_best;
  options.keep_every = config.keep_every;
  options.recoveries = config.recoveries;
  options.checkpoint_seconds = config.checkpoint_seconds;
  options.samples = kReportSamples;
  options.info = model_info(config, run.data.train_labels, run.dtype);
  return options;
}

}  // namespace

class TrainingRun::Impl {
 public:
  Impl(Config config, const TrainingRunOptions& options, RunObserver& observer)
      : observer_(observer),
        run_(check_run(std::move(config), options, observer)),
        graph_(make_graph(run_.config, labels().classes(), options.resume, weights_)),
        loading_(run_, observer),
        train_(run_.data.train, labels(), loading_.train),
        val_(run_.data.val, run_.data.val_labels, loading_.val),
        trainer_options_(trainer_options(run_, loading_.cache, train_.batches(), options.profile)),
        context_(run_.device.device),
        parameters_(graph_.parameters(), context_.stream, true),
        tracking_(observer) {
    parameters_.initialize(run_.config.seed);
    if (weights_) load_weights();
    if (run_.teacher) load_teacher();
    if (!options.profile) prepare_trainer(options);
  }

  const Config& config() const { return run_.config; }

  RunResult run(const std::function<bool()>& stop_requested) {
    require(trainer_.has_value(), "a run that is not for a profile");
    RunResult result;
    const auto found = [&] {
      result.best_epoch = trainer_->best_epoch();
      result.best_score = trainer_->best_score();
      return result.end != TrainingEnd::interrupted && result.best_epoch > 0;
    };
    if (taken_) {
      result.end = *trainer_->ended();
      found();
      return result;
    }
    bool scored = false;
    try {
      result.end = trainer_->run(stop_requested);
      scored = found();
      if (scored) report();
    } catch (...) {
      tracking_.fail();
      throw;
    }
    tracking_.end(result.end);  // when there is a report: a tracker may want it
    if (scored && result.end != TrainingEnd::paused && run_.data.test) {
      result.test = score_test_split(*run_.data.test);
    }
    return result;
  }

  StepProfile profile(int64_t steps) {
    require(!trainer_, "a run for a profile");
    const FineTuning& tuning = trainer_options_.fine_tuning;
    TrainingStep step(with_frozen_batch_norms(tuning, graph_), parameters_, context_,
                      trainer_options_.step);
    step.freeze(frozen_parameters(learning_rate_scales(tuning, parameters_.specs(), 0)));
    return profile_steps(step, train_, steps, trainer_options_.learning_rate(0), context_);
  }

 private:
  const LabelSet& labels() const { return run_.data.train_labels; }

  void load_weights() {
    weights_->for_each([&](size_t i, std::span<const float> values, bool) {
      parameters_.write(i, Parameters::Field::value, values);
    });
    observer_.on_weights(weights_->report().text());
    weights_.reset();  // gives the mapped file back
  }

  void load_teacher() {
    const Config& config = run_.config;
    TeacherFile& file = *run_.teacher;
    teacher_.emplace(file.model, file.path, context_.stream);
    file.model.parameters.clear();  // which are on the device
    TeacherOptions teacher = teacher_options(teacher_->info(), config, config.batch);
    teacher.parameters = &teacher_->parameters();
    observer_.on_notice(fmt::format("taught by {} with {} parameters, {}", teacher_->info().network,
                                    teacher.graph.parameter_count(), file.path.string()));
    trainer_options_.step.teacher = std::move(teacher);
  }

  void prepare_trainer(const TrainingRunOptions& options) {
    const Config& config = run_.config;
    if (!run_.folder) {
      run_.folder = std::make_unique<RunFolder>(run_folder(config), options.resume, observer_);
    }
    trainer_options_.stop_epoch = options.stop_epoch;
    trainer_options_.evaluated = [this](const EpochRecord& record, const Evaluation& evaluation) {
      write_epoch_samples(run_.folder->path(), val_.dataset(), val_.labels(), record.epoch,
                          evaluation);
      tracking_.evaluated(record, evaluation, val_);
    };
    trainer_.emplace(graph_, graph_, parameters_, context_, train_, val_, trainer_options_,
                     tracking_);
    if (options.resume) trainer_->resume();
    taken_ = options.stop_epoch > 0 && trainer_->ended() && has_report();
    if (taken_) return;
    if (!run_.notice.empty() && !trainer_->ended()) observer_.on_notice(run_.notice);
    write_file_atomically(run_.folder->path() / "data.json", to_json(run_.run_data));
    write_file_atomically(run_.folder->path() / "config.toml", to_toml(config));
    tracking_.begin(config, run_.folder->path(), options.resume, trainer_->epochs(),
                    trainer_->steps(), observer_);
    observer_.on_notice(fmt::format(
        "{} with {} parameters on {} ({}), {}; {} training and {} validation images",
        config.network, graph_.parameter_count(), run_.device.device.name(), run_.device.name,
        precision_name(run_.dtype), run_.data.train.samples.size(), run_.data.val.samples.size()));
  }

  /// Whether the report is of what the checkpoint holds, and not of an earlier pause.
  bool has_report() const {
    std::error_code none;
    const auto written =
        std::filesystem::last_write_time(run_.folder->path() / "report.html", none);
    if (none) return false;
    const auto checkpoint =
        std::filesystem::last_write_time(run_.folder->path() / "last.safetensors", none);
    return !none && written >= checkpoint;
  }

  /// Of the best epoch: as the trainer has evaluated it, or, where that was before an interruption,
  /// once more.
  void report() {
    const std::filesystem::path best = run_.folder->path() / "best.safetensors";
    std::optional<Evaluation> again;
    if (!trainer_->best_evaluation()) {
      LoadedModel model(best, context_.stream);
      again = score(model, val_, context_, run_.dtype, kReportSamples, "scoring the best epoch",
                    observer_);
    }
    const RunSummary summary{.device = run_.device,
                             .dtype = run_.dtype,
                             .parameters = static_cast<uint64_t>(graph_.parameter_count()),
                             .best_epoch = trainer_->best_epoch(),
                             .class_weights = run_.run_data.class_weights,
                             .step_bytes = trainer_->step().bytes(),
                             .parameter_bytes = trainer_->step().optimizer().bytes()};
    write_run_report(run_.config, val_, summary, again ? *again : *trainer_->best_evaluation());
  }

  TestScores score_test_split(const Dataset& test) {
    const Config& config = run_.config;
    LoadedModel model(run_.folder->path() / "best.safetensors", context_.stream);
    LoaderOptions options;
    options.batch = config.batch;
    options.threads = config.loader_threads;
    options.device = run_.device.device;
    options.reduced_decoding = config.reduced_decoding;
    Loader loader = open_loader(model.info(), test, options, observer_);
    const Evaluation found =
        score(model, loader, context_, run_.dtype, {}, "scoring the test split", observer_);
    return {loader.dataset().samples.size(), compute_metrics(found.confusion, config.absent),
            model.info().class_names};
  }

  RunObserver& observer_;
  CheckedRun run_;
  std::optional<WeightImport> weights_;  // until they are in the parameters
  Graph graph_;
  Loading loading_;
  Loader train_, val_;
  TrainerOptions trainer_options_;
  DeviceContext context_;
  Parameters parameters_;
  std::optional<LoadedModel> teacher_;
  RunTracking tracking_;
  std::optional<Trainer> trainer_;  // but for a profile
  bool taken_ = false;              // it is there as it is to be
};

TrainingRun::TrainingRun(Config config, const TrainingRunOptions& options, RunObserver& observer)
    : impl_(std::make_unique<Impl>(std::move(config), options, observer)) {}

TrainingRun::~TrainingRun() = default;

const Config& TrainingRun::config() const { return impl_->config(); }

RunResult TrainingRun::run(const std::function<bool()>& stop_requested) {
  return impl_->run(stop_requested);
}

StepProfile TrainingRun::profile(int64_t steps) { return impl_->profile(steps); }

}  // namespace macadam
