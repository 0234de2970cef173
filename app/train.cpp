// macadam train: a training run from a configuration.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/config.h"
#include "app/config_keys.h"
#include "app/console.h"
#include "app/loader_options.h"
#include "app/new_model.h"
#include "app/profile.h"
#include "app/resume.h"
#include "app/run_folder.h"
#include "app/scoring.h"
#include "app/shell_word.h"
#include "app/training_data.h"
#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "engine/plan/precision.h"
#include "engine/train/step_profile.h"
#include "engine/train/trainer.h"
#include "kernels/self_test.h"
#include "loader/loader_source.h"
#include "models/conversion.h"
#include "models/loaded_model.h"

namespace macadam {

namespace {

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  bool resume = false, dataset_moved = false;
  bool keys = false, json = false, markdown = false;
  int64_t profile = 0;  // steps
};

class ConsoleObserver final : public TrainingObserver {
 public:
  void on_step(const Progress& p) override {
    line_.show(p.batch, p.batches,
               std::array{fmt::format("epoch {}/{}", p.epoch, p.epochs),
                          fmt::format("loss {:.4f}", p.loss),
                          fmt::format("{:.2f} images/s", p.images_per_second),
                          fmt::format("{:.1f} ms a batch", 1e3 * p.seconds),
                          fmt::format("{:.1f}% waiting for data", 100 * p.wait_seconds / p.seconds),
                          fmt::format("{:.1f} ms to load a sample", 1e3 * p.load_seconds),
                          fmt::format("{} batches ready", p.ready)});
  }
  void on_phase(const Phase& p) override {
    say(fmt::format("up to epoch {}, {} parameters are trained and {} frozen", p.last_epoch,
                    p.trained, p.frozen));
  }
  void on_validation(int64_t batch, int64_t batches) override { validation_.show(batch, batches); }
  void on_epoch(const EpochRecord& r) override {
    std::string text = fmt::format("epoch {}: train loss {:.4f}, val loss {}", r.epoch,
                                   r.train_loss, score_text(r.val_loss));
    for (size_t i = 0; i < r.scores.size(); ++i) {  // the first by its whole name: by its rule
      const Score& score = r.scores[i];
      text += fmt::format(", {} {}", i == 0 ? score.name : title_of(score.name),
                          score_text(score.value));
    }
    say(text + fmt::format(", {:.1f} s{}", r.seconds, r.best ? ", best so far" : ""));
  }

 private:
  ProgressLine line_{"training"}, validation_{"validation"};
};

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

TrainerOptions make_trainer_options(const Config& config, const LabelSet& labels, DType dtype,
                                    int64_t batches_an_epoch) {
  const int64_t accumulate = config.optimizer.accumulate;
  const Schedule schedule = schedule_of(config, (batches_an_epoch + accumulate - 1) / accumulate);
  TrainerOptions options;
  options.folder = run_folder(config);
  options.epochs = config.epochs;
  options.learning_rate = [schedule](int64_t step) {
    return static_cast<float>(learning_rate(schedule, step));
  };
  options.step.dtype = dtype;
  options.step.loss = config.loss;
  options.step.class_weights = config.class_weights;
  options.step.optimizer = config.optimizer;
  options.step.normalization = config.normalization;
  options.step.seed = config.seed;
  options.fine_tuning = config.fine_tuning;
  options.absent = config.absent;
  options.patience = config.patience;
  options.checkpoint_seconds = config.checkpoint_seconds;
  options.info = model_info(config, labels, dtype);
  return options;
}

void check_class_weights(const Config& config, const LabelSet& labels) {
  if (config.class_weights.empty() ||
      config.class_weights.size() == static_cast<size_t>(labels.classes())) {
    return;
  }
  throw InputError(
      fmt::format("{} class weights for {} classes", config.class_weights.size(), labels.classes()),
      "class_weights", "give one weight a class of label_set " + labels.name);
}

/// Divides the memory for decoded samples between the two, by their numbers.
void share_cache(LoaderOptions& train, const Dataset& train_set, LoaderOptions& val,
                 const Dataset& val_set) {
  const size_t all = train_set.samples.size() + val_set.samples.size();
  const size_t bytes = train.cache_bytes;
  val.cache_bytes = bytes / all * val_set.samples.size();
  train.cache_bytes = bytes - val.cache_bytes;
}

void check_accumulation(const Config& config, int64_t batches_an_epoch) {
  if (config.optimizer.accumulate <= batches_an_epoch) return;
  throw InputError(fmt::format("a step of {} batches, but an epoch has {}",
                               config.optimizer.accumulate, batches_an_epoch),
                   "accumulate", fmt::format("use at most {}", batches_an_epoch));
}

/// The best epoch on the split that neither training nor the choice of the epoch has seen.
void score_test_split(const Config& config, const Dataset& test, Stream& stream, Ops& ops,
                      DType dtype) {
  LoadedModel model(run_folder(config) / "best.safetensors", stream);
  Loader loader = open_loader(model.info(), test, config.batch, config.loader_threads,
                              stream.device(), config.reduced_decoding);
  ProgressLine progress("scoring the test split");
  const ConfusionMatrix matrix =
      score(model, loader, stream, ops, dtype,
            [&](int64_t done, int64_t total) { progress.show(done, total); });
  const SegmentationMetrics metrics = compute_metrics(matrix, config.absent);
  print("test split, {} images:\n{}", loader.dataset().samples.size(),
        Lines{metrics_table(metrics, model.info().class_names)});
}

/// The graph of the configured network. For a new run, pretrained weights, and else the network,
/// decide on options and normalisation that `config` leaves open; a resumed one has them.
Graph make_graph(Config& config, int classes, bool resume, std::optional<WeightImport>& weights) {
  const NetworkEntry& entry = find_segmentation_network(config.network);
  const Shape input{config.batch, config.height, config.width, 3};
  NetworkSpec spec{config.network, classes, config.network_options};
  Graph graph = build_network(spec, input);
  if (resume) return graph;
  WeightNeeds needs{{}, entry.normalization};
  if (!config.weights.empty()) {
    weights.emplace(config.weights, spec, graph);
    needs = needs_of(*weights, spec);
  }
  if (!config.own_normalization) config.normalization = needs.normalization;
  if (needs.options.empty()) return graph;
  config.network_options.insert(needs.options.begin(), needs.options.end());
  spec.options = config.network_options;
  return build_network(spec, input);
}

void load_weights(const WeightImport& weights, Parameters& parameters) {
  weights.for_each([&](size_t i, std::span<const float> values, bool) {
    parameters.write(i, Parameters::Field::value, values);
  });
  std::string text = weights.report().text();
  text.pop_back();  // the last newline
  say(Lines{text});
}

/// Shows where the time of a step goes. Leaves no run, only the trace beside where it would be.
void profile_training(const TrainerOptions& options, const Graph& graph, Parameters& parameters,
                      Stream& stream, Ops& ops, BatchSource& source, int64_t steps) {
  const std::filesystem::path file = options.folder.string() + ".trace.json";
  TrainingStep step(with_frozen_batch_norms(options.fine_tuning, graph), parameters, stream, ops,
                    options.step);
  step.freeze(frozen_parameters(learning_rate_scales(options.fine_tuning, parameters.specs(), 0)));
  const StepProfile profile =
      profile_steps(step, source, steps, options.learning_rate(0), stream, ops);
  std::filesystem::create_directories(file.parent_path());
  write_file_atomically(file, chrome_trace(profile));
  print("{}trace of a step: {}\n", Lines{profile_table(profile)}, file.string());
}

/// The configuration as given. That of a run to be resumed, when it is the run folder's own file,
/// is of that folder, wherever it lies now.
Config configuration(const TrainOptions& options) {
  std::vector<std::string> overrides;
  if (options.resume) overrides = overrides_of_run_file(options.config);
  overrides.insert(overrides.end(), options.overrides.begin(), options.overrides.end());
  return load_config(options.config, overrides);
}

/// The command that goes on with the run; its overrides are part of it.
std::string resuming_command(const TrainOptions& options) {
  std::string command = "macadam train " + shell_word(options.config);
  for (const std::string& text : options.overrides) command += ' ' + shell_word(text);
  return command + " --resume";
}

void train(const TrainOptions& options) {
  Config config = configuration(options);
  std::optional<BegunRun> begun;
  if (options.resume) {
    begun = read_begun_run(run_folder(config));
    keep_begun_defaults(config, *begun);
  }
  // The folder of a new run is made when everything else has been found in order.
  std::optional<RunFolder> folder;
  if (options.profile == 0 && std::filesystem::exists(run_folder(config))) {
    folder.emplace(run_folder(config), options.resume);
  }
  const DeviceInfo device = device_info(parse_device(config.device));
  const DType dtype = resolve_precision(name_of(config.precision), device);
  require_sound_convolutions(device.device, dtype);
  if (begun) check_same_configuration(config, *begun);
  const TrainingData data = open_training_data(config);
  const LabelSet& labels = data.train_labels;
  const RunData run_data = run_data_of(data.train, data.val, labels);
  if (begun) check_same_data(config, run_data, *begun, options.dataset_moved);
  check_class_weights(config, labels);
  check_fill_labels(config.augment, labels.classes());

  std::optional<WeightImport> weights;
  const Graph graph = make_graph(config, labels.classes(), options.resume, weights);
  check_fine_tuning(config.fine_tuning, graph);
  LoaderOptions train_options = loader_options(config, device.device, true);
  std::optional<DeviceCache> cache =
      make_device_cache(config, train_options, static_cast<int>(data.train.samples.size()));
  if (cache) train_options.device_cache = &*cache;
  LoaderOptions val_options = loader_options(config, device.device, false);
  share_cache(train_options, data.train, val_options, data.val);
  Loader train_loader(data.train, labels, train_options);
  Loader val_loader(data.val, data.val_labels, val_options);
  LoaderSource train_source(train_loader), val_source(val_loader);
  check_accumulation(config, train_source.batches());
  if (options.profile > 0 && config.optimizer.accumulate > 1) {
    throw InputError("a profile is of one batch a step", "accumulate", "profile with accumulate=1");
  }

  Stream stream(device.device);
  Ops ops = make_ops(stream);
  Parameters parameters(graph.parameters(), stream, true);
  parameters.initialise(config.seed);
  if (weights) load_weights(*weights, parameters);
  weights.reset();  // gives the mapped file back
  TrainerOptions trainer_options =
      make_trainer_options(config, labels, dtype, train_source.batches());
  if (cache) trainer_options.step.cache = &*cache;
  if (options.profile > 0) {
    profile_training(trainer_options, graph, parameters, stream, ops, train_source,
                     options.profile);
    return;
  }
  if (!folder) folder.emplace(run_folder(config), options.resume);
  ConsoleObserver observer;
  Trainer trainer(graph, graph, parameters, stream, ops, train_source, val_source, trainer_options,
                  observer);
  if (options.resume) trainer.resume();
  write_file_atomically(folder->path() / "data.json", to_json(run_data));
  write_file_atomically(folder->path() / "config.toml", to_toml(config));

  say(fmt::format("{} with {} parameters on {} ({}), {}; {} training and {} validation images",
                  config.network, graph.parameter_count(), device.device.name(), device.name,
                  precision_name(dtype), train_loader.dataset().samples.size(),
                  val_loader.dataset().samples.size()));
  catch_interrupts();
  const TrainingEnd end = trainer.run(interrupted);
  if (end == TrainingEnd::interrupted) {
    say("interrupted; continue with: " + resuming_command(options));
    throw Interrupted();
  }
  if (end == TrainingEnd::stopped_early) {
    say(fmt::format("no better mean IoU for {} epochs: stopped", config.patience));
  }
  if (trainer.best_epoch() > 0) {
    write_run_report(config, val_loader, device, dtype);
    print_summary("best epoch {}: mean IoU {}; report: {}\n", trainer.best_epoch(),
                  score_text(trainer.best_score()), (run_folder(config) / "report.html").string());
    if (data.test) score_test_split(config, *data.test, stream, ops, dtype);
  }
}

void print_keys(const TrainOptions& options) {
  if (options.json) {
    print_json(keys_json());
  } else {
    print("{}", Lines{options.markdown ? keys_markdown() : keys_table()});
  }
}

void run_train(const TrainOptions& options) {
  if (options.keys) {
    print_keys(options);
  } else if (options.config.empty()) {
    throw InputError("config is required", "command line", "see `macadam --help`");
  } else {
    train(options);
  }
}

}  // namespace

void add_train(CommandLine& line) {
  Command command = line.add("train", "Train a network");
  auto options = std::make_shared<TrainOptions>();
  command.option("config", &options->config, "TOML file");
  command.option("overrides", &options->overrides, "key=value, over the file's values");
  Option resume =
      command.flag("--resume", options->resume, "Continue from the run's last checkpoint");
  command
      .flag("--dataset-moved", options->dataset_moved,
            "With --resume: samples of the same names at another place are the same data set")
      .needs(resume);
  command
      .option("--profile", &options->profile,
              "Train this many steps only, and show where their time goes, layer by layer")
      .range(1, 1000)
      .optional_value("10")
      .excludes(resume);
  Option keys = command.flag("--keys", options->keys,
                             "List the keys of a configuration: values, default, meaning, and "
                             "whether --resume takes another value");
  command.stands_alone(keys, {});
  Option json = command.flag("--json", options->json, "With --keys: one JSON list").needs(keys);
  command.flag("--markdown", options->markdown, "With --keys: as docs/configuration.md")
      .needs(keys)
      .excludes(json);
  command.run([options] { run_train(*options); });
}

}  // namespace macadam
