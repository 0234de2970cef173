// macadam sweep: many runs from one configuration, compared.

#include "run/sweep.h"

#include <fmt/format.h>

#include <array>
#include <memory>
#include <optional>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "app/training_console.h"
#include "base/error.h"
#include "base/files.h"
#include "run/comparison.h"

namespace macadam {

namespace {

struct SweepCommand {
  std::string config, output;
  std::vector<std::string> axes, set;
  int random = 0, first_epochs = 0, keep = 3;
  uint64_t seed = 1;
  bool list = false;
};

class SweepConsole final : public SweepObserver {
 public:
  RunObserver& on_run(const SweepPoint& point, size_t number, size_t of, int64_t epochs) override {
    say(fmt::format("run {} of {}, up to epoch {}: {}", number, of, epochs, point.name));
    return console_.emplace();
  }
  void on_failure(const SweepPoint& point, const std::string& what) override {
    warn(fmt::format("{} has failed, and is left out: {}", point.name, what));
  }

 private:
  std::optional<TrainingConsole> console_;
};

std::vector<SweepPoint> points_of(const SweepCommand& command) {
  std::vector<SweepAxis> axes;
  for (const std::string& text : command.axes) axes.push_back(parse_sweep_axis(text));
  const Config base = load_config(command.config, command.set);
  if (axes.empty() && base.variants.empty()) {
    throw InputError("there is nothing to vary", command.config,
                     "give a key with several values, as lr=1e-3,3e-4, or variants in the file");
  }
  std::vector<SweepPoint> points = sweep_grid(base.name, axes, base.variants);
  if (command.random == 0) return points;
  return draw_points(std::move(points), static_cast<size_t>(command.random), command.seed);
}

void sweep(const SweepCommand& command) {
  if (!command.output.empty()) {
    tables_as(command.output, "", std::array{Table{}});  // its ending, before anything is trained
    check_place(command.output);
  }
  const std::vector<SweepPoint> points = points_of(command);
  if (command.list) {
    for (const SweepPoint& point : points) print("{}\n", point.name);
    return;
  }
  catch_interrupts();
  SweepConsole console;
  const SweepResult result = run_sweep(command.config, command.set, points,
                                       {command.first_epochs, command.keep}, console, interrupted);
  if (result.interrupted) {
    say("interrupted; the same command goes on");
    throw Interrupted();
  }
  if (!result.runs.empty()) {
    std::vector<ComparedRun> runs;
    for (const auto& folder : result.runs) runs.push_back(read_compared_run(folder));
    sort_by_score(runs);
    const std::vector<Table> tables = comparison_tables(runs);
    if (!command.output.empty()) {
      write_file_atomically(command.output, tables_as(command.output, "Runs", tables));
    }
    std::string text;
    for (const Table& table : tables) text += (text.empty() ? "" : "\n") + table_text(table);
    print("{}", Lines{text});
  }
  if (!result.failed.empty()) {
    throw RunError(fmt::format("{} of {} runs have failed", result.failed.size(), points.size()),
                   result.failed.front(),
                   "see above what went wrong; the same command tries again");
  }
}

}  // namespace

void add_sweep(CommandLine& line) {
  Command command = line.add("sweep", "Train every combination of some keys' values, and compare");
  auto options = std::make_shared<SweepCommand>();
  command.option("config", &options->config, "TOML file").required();
  command.option("keys", &options->axes, "key=a,b,c: the values that a key is to have");
  command.option("--set", &options->set, "key=value, over the file's values, for all runs");
  const Option random =
      command.option("--random", &options->random, "Draw so many of the combinations")
          .range(1, 10'000);
  command.option("--seed", &options->seed, "Of that drawing").show_default().needs(random);
  const Option halving =
      command
          .option("--halving", &options->first_epochs,
                  "Successive halving: all train for so many epochs, the best of them for more")
          .range(1, 1'000'000);
  command
      .option("--keep", &options->keep,
              "With --halving: one of so many goes on, for so many times the epochs")
      .range(2, 100)
      .show_default()
      .needs(halving);
  command.option("-o,--output", &options->output,
                 "Also write the comparison: FILE.md, FILE.html or FILE.csv");
  command.flag("--list", options->list, "Name the runs that there would be, and train none");
  command.run([options] { sweep(*options); });
}

}  // namespace macadam
