// macadam train: a training run from a configuration.

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "app/shell_word.h"
#include "app/training_console.h"
#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "run/config.h"
#include "run/config_keys.h"
#include "run/profile.h"
#include "run/resume.h"
#include "run/run_folder.h"
#include "run/training_run.h"

namespace macadam {

namespace {

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  bool resume = false, dataset_moved = false;
  bool keys = false, json = false, markdown = false;
  int64_t profile = 0;  // steps
};

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

/// Leaves no run, only the trace beside where it would be.
void show_profile(TrainingRun& run, int64_t steps) {
  const std::filesystem::path file = run_folder(run.config()).string() + ".trace.json";
  const StepProfile profile = run.profile(steps);
  std::filesystem::create_directories(file.parent_path());
  write_file_atomically(file, chrome_trace(profile));
  print("{}trace of a step: {}\n", Lines{profile_table(profile)}, file.string());
}

void train(const TrainOptions& options) {
  Config config = configuration(options);
  if (!config.variants.empty()) {
    throw InputError("the file lists the runs of a sweep", options.config,
                     "train them with macadam sweep");
  }
  TrainingConsole console;
  TrainingRun run(std::move(config), {options.resume, options.dataset_moved, options.profile > 0},
                  console);
  if (options.profile > 0) {
    show_profile(run, options.profile);
    return;
  }
  catch_interrupts();
  const RunResult result = run.run(interrupted);
  if (result.end == TrainingEnd::interrupted) {
    say("interrupted; continue with: " + resuming_command(options));
    throw Interrupted();
  }
  if (result.end == TrainingEnd::stopped_early) {
    say(fmt::format("no better {} for {} epochs: stopped", title_of(run.config().best_by),
                    run.config().patience));
  }
  if (result.best_epoch > 0) {
    print_summary("best epoch {}: mean IoU {}; report: {}\n", result.best_epoch,
                  score_text(result.best_score),
                  (run_folder(run.config()) / "report.html").string());
  }
  if (result.test) {
    print("test split, {} images:\n{}", result.test->images,
          Lines{metrics_table(result.test->metrics, result.test->class_names)});
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
