// macadam check: is this data set fit for training?

#include "loader/check.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "app/console_observer.h"
#include "app/data_report.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/text.h"
#include "base/to_size.h"
#include "run/contact_sheet.h"
#include "run/label_sets.h"
#include "run/loader_options.h"

namespace macadam {

namespace {

/// Those that come of what was counted.
constexpr std::array kWeightings{ClassWeighting::enet, ClassWeighting::median_frequency,
                                 ClassWeighting::effective_number, ClassWeighting::balanced};

struct CheckOptions {
  std::string dataset;
  std::string label_set{kAutoLabelSet}, void_policy = "auto";
  int threads = 0;
  bool json = false, no_strict = false;
  std::string augment, output;
  int sheets = 8;
};

nlohmann::json to_json(const CheckReport& report) {
  nlohmann::json out{{"name", report.name},
                     {"layout", name_of(report.layout)},
                     {"label_set", report.labels.name},
                     {"errors", report.errors()},
                     {"warnings", report.warnings()},
                     {"splits", nlohmann::json::array()},
                     {"issues", nlohmann::json::array()}};
  for (const SplitReport& split : report.splits) {
    nlohmann::json classes = nlohmann::json::array();
    for (int c = 0; c < report.labels.classes(); ++c) {
      const auto i = to_size(c);
      classes.push_back({{"name", report.labels.class_names[i]},
                         {"pixels", split.classes[i].pixels},
                         {"images", split.classes[i].images},
                         {"share", split.share(c)}});
    }
    nlohmann::json weights;
    for (const ClassWeighting weighting : kWeightings) {
      weights[std::string(name_of(weighting))] = class_weights(weighting, split.classes);
    }
    out["splits"].push_back({{"split", split.split},
                             {"labelled", split.labeled},
                             {"samples", split.samples},
                             {"height", {split.min_height, split.max_height}},
                             {"width", {split.min_width, split.max_width}},
                             {"classes", std::move(classes)},
                             {"class_weights", std::move(weights)},
                             {"ignored_pixels", split.ignored_pixels},
                             {"unknown_pixels", split.unknown_pixels},
                             {"mean", split.mean},
                             {"std", split.std},
                             {"sequences", split.sequences}});
  }
  for (const CheckIssue& issue : report.issues) {
    out["issues"].push_back(
        {{"severity", issue.severity == CheckIssue::Severity::error ? "error" : "warning"},
         {"what", issue.what},
         {"where", issue.where}});
  }
  return out;
}

std::string extent(int low, int high) {
  return low == high ? fmt::format("{}", low) : fmt::format("{}..{}", low, high);
}

/// As a configuration takes them, from the split that one trains on.
void print_class_weights(const SplitReport& split) {
  print("\nclass weights of the split {}, by\n", split.split);
  for (const ClassWeighting weighting : kWeightings) {
    std::vector<std::string> words;
    for (const double w : class_weights(weighting, split.classes)) {
      words.push_back(fmt::format("{:.4g}", w));
    }
    print("  {} class_weights = [{}]\n", pad_right(name_of(weighting), 17), joined(words, ", "));
  }
  print("\n");
}

void print_report(const CheckReport& report) {
  print("{}: {} layout, label set {}\n\n", report.name, name_of(report.layout), report.labels.name);
  print_class_shares(report);
  for (const SplitReport& s : report.splits) {
    print(
        "{}: {} samples of {} x {} pixels, mean RGB {:.3f} {:.3f} {:.3f}, std {:.3f} {:.3f} "
        "{:.3f}, {} sequences\n",
        s.split, s.samples, extent(s.min_width, s.max_width), extent(s.min_height, s.max_height),
        s.mean[0], s.mean[1], s.mean[2], s.std[0], s.std[1], s.std[2], s.sequences.size());
  }
  if (report.splits.front().labeled_pixels() > 0) print_class_weights(report.splits.front());
  print_issues(report);
}

/// The configuration `options.augment`, to train on the data set.
Config training_config(const CheckOptions& options) {
  return load_config(options.augment,
                     std::array{"dataset=" + std::filesystem::absolute(options.dataset).string()});
}

/// What training by `config` would see of the data set.
void show_augmentation(const CheckOptions& options, const Config& config, const LabelSet& labels) {
  const Dataset dataset = open_dataset(options.dataset, "train");
  ConsoleObserver observer;
  write_contact_sheets(dataset, labels, loader_options(config, Device{}, true, observer),
                       options.sheets, options.output, observer);
  say(fmt::format("contact sheets of {}: {}", options.augment, options.output));
}

void check(const CheckOptions& options) {
  std::optional<Config> config;
  if (!options.augment.empty()) {
    check_predictions_place(options.output);
    config = training_config(options);
  }
  const LabelSet labels =
      config ? make_label_set(*config, options.dataset)
             : make_label_set(options.label_set, parse_void_policy(options.void_policy),
                              options.dataset);
  if (config) check_fill_labels(config->augment, labels.classes());
  ProgressLine progress("checking");
  const CheckReport report = check_dataset(
      options.dataset, labels, options.threads,
      [&](int64_t done, int64_t total) { progress.show(done, total); }, !options.no_strict);
  if (options.json) {
    print_json(to_json(report));
  } else {
    print_report(report);
  }
  if (report.errors() > 0) {
    throw InputError(fmt::format("{} errors in the data set", report.errors()), options.dataset,
                     "mend or remove the files listed");
  }
  if (config) show_augmentation(options, *config, labels);
}

}  // namespace

void add_check(CommandLine& line) {
  Command command = line.add("check", "Verify a data set");
  auto options = std::make_shared<CheckOptions>();
  command.option("dataset", &options->dataset, "Data set: a folder or a pack").required();
  Option label_set =
      command
          .option("--label-set", &options->label_set,
                  "categories8, trainids19, camvid11, custom, or auto: the data set's own")
          .show_default();
  Option void_policy =
      command
          .option("--void", &options->void_policy, "ignore, class, or auto: as usual for the set")
          .show_default();
  command.option("--threads", &options->threads, "0 = all cores").range(0, 1024).show_default();
  command.flag("--no-strict", options->no_strict,
               "JPEGs with stray bytes or without an end are warnings, not errors");
  command.flag("--json", options->json, "One JSON object on stdout");
  Option augment =
      command
          .option("--augment", &options->augment,
                  "Configuration of a training run: check with its label set, and draw "
                  "what its augmentation does")
          .excludes(label_set)
          .excludes(void_policy);
  Option output = command.option("-o,--output", &options->output, "Folder of these contact sheets");
  augment.needs(output);
  output.needs(augment);
  command.option("--sheets", &options->sheets, "How many")
      .range(1, 1000)
      .show_default()
      .needs(augment);
  command.run([options] { check(*options); });
}

}  // namespace macadam
