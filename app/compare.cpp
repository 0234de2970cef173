// macadam compare: runs beside each other.

#include <array>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json_text.h"
#include "run/comparison.h"

namespace macadam {

namespace {

struct CompareOptions {
  std::vector<std::string> runs;
  std::string output, device = "auto", precision = "auto";
  bool time = false, json = false;
};

void compare(const CompareOptions& options) {
  if (!options.output.empty()) {
    tables_as(options.output, "", std::array{Table{}});  // its ending, before anything is measured
    check_place(options.output);
  }
  std::vector<ComparedRun> runs;
  for (const std::string& folder : options.runs) runs.push_back(read_compared_run(folder));
  if (options.time) {
    constexpr int kRounds = 15;
    time_models(runs, parse_device(options.device), options.precision, kRounds);
  }
  sort_by_score(runs);
  const std::vector<Table> tables = comparison_tables(runs);
  if (!options.output.empty()) {
    write_file_atomically(options.output, tables_as(options.output, "Runs", tables));
  }
  if (options.json) return print("{}\n", Lines{json_text(comparison_json(runs))});
  for (size_t i = 0; i < tables.size(); ++i) {
    print("{}", Lines{(i == 0 ? "" : "\n") + table_text(tables[i])});
  }
}

}  // namespace

void add_compare(CommandLine& line) {
  Command command = line.add("compare", "Compare runs: scores, costs, classes, settings");
  auto options = std::make_shared<CompareOptions>();
  command.option("runs", &options->runs, "Folders of runs").required();
  command.option("-o,--output", &options->output, "Also write it: FILE.md, FILE.html or FILE.csv");
  const Option time =
      command.flag("--time", options->time, "Measure how long each model takes for an image");
  command.option("--device", &options->device, "With --time: auto, cpu, cuda or cuda:N")
      .show_default()
      .needs(time);
  command.option("--precision", &options->precision, "With --time: auto, fp32, bf16 or fp16")
      .show_default()
      .needs(time);
  command.flag("--json", options->json, "One JSON object on stdout");
  command.run([options] { compare(*options); });
}

}  // namespace macadam
