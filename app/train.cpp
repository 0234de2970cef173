// macadam train: a training run from a configuration.

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "app/console_observer.h"
#include "app/shell_word.h"
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

/// " (ce 0.5000, dice 0.3000)": the terms whose names begin with `prefix`; "" for a single one.
std::string terms_text(const EpochRecord& record, std::string_view prefix) {
  std::vector<std::string> terms;
  for (const Score& term : record.terms) {
    if (!term.name.starts_with(prefix)) continue;
    terms.push_back(fmt::format("{} {}", term.name.substr(prefix.size()), score_text(term.value)));
  }
  return terms.size() < 2 ? "" : fmt::format(" ({})", joined(terms));
}

class TrainingConsole final : public ConsoleObserver<RunObserver> {
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
    std::string text =
        fmt::format("epoch {}: train loss {:.4f}{}, val loss {}{}", r.epoch, r.train_loss,
                    terms_text(r, "train_"), score_text(r.val_loss), terms_text(r, "val_"));
    for (size_t i = 0; i < r.scores.size(); ++i) {  // the first by its whole name: by its rule
      const Score& score = r.scores[i];
      text += fmt::format(", {} {}", i == 0 ? score.name : title_of(score.name),
                          score_text(score.value));
    }
    say(text + fmt::format(", {:.1f} s{}", r.seconds, r.best ? ", best so far" : ""));
  }

  void on_weights(const std::string& report) override {
    say(Lines{std::string_view(report).substr(0, report.size() - 1)});  // without the last newline
  }

 private:
  ProgressLine line_{"training"}, validation_{"validation"};
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
  TrainingConsole console;
  TrainingRun run(configuration(options),
                  {options.resume, options.dataset_moved, options.profile > 0}, console);
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
    say(fmt::format("no better mean IoU for {} epochs: stopped", run.config().patience));
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
