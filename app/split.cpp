// macadam split: a data set divided into training, validation and test anew.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <limits>
#include <set>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "app/data_report.h"
#include "base/error.h"
#include "base/text.h"
#include "loader/division.h"
#include "loader/pack.h"
#include "loader/split_file.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 3> kParts{"train", "val", "test"};

struct SplitOptions {
  std::string dataset, by, output;
  std::string val = "0.2", test = "0";
  std::string label_set{kAutoLabelSet}, void_policy = "auto";
  int64_t seed = 0;
  int threads = 0;
};

double parse_share(const std::string& text, std::string_view option) {
  double share = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), share);
  if (error == std::errc() && stop == text.data() + text.size() && share >= 0 && share < 1) {
    return share;
  }
  throw InputError(fmt::format("'{}' is no share of the photos", text), option,
                   "use a number from 0 to less than 1: 0.2");
}

/// Of kParts.
std::array<double, 3> shares_of(const SplitOptions& options) {
  const double val = parse_share(options.val, "--val"), test = parse_share(options.test, "--test");
  if (val + test <= 0 || val + test >= 1) {
    throw InputError(fmt::format("{} for validation and {} for test", val, test), "--val, --test",
                     "leave some photos for each: together above 0 and below 1");
  }
  return {1 - val - test, val, test};
}

void check_output(const SplitOptions& options) {
  if (fs::path(options.output).extension() != ".toml") {
    throw InputError("a division is named *.toml", options.output, "add .toml to the name");
  }
  if (fs::exists(options.output)) {
    throw InputError("the file is there already", options.output,
                     "choose another name, or remove it");
  }
}

/// All labelled photos, each with the split that it is in now.
struct Photos {
  Dataset dataset;                  // of all of them
  std::vector<std::string> splits;  // one a sample
};

Photos photos_of(const std::string& root) {
  Photos photos;
  for (const std::string& split : list_splits(root)) {
    const SplitScan scan = scan_split(root, split);
    const bool dummies = scan.dataset.layout == Layout::cityscapes && split == "test";
    if (dummies || is_unlabeled(scan)) {
      say(fmt::format("the split {} is left out: {}", split,
                      dummies ? "Cityscapes' test masks are dummies" : "it has no masks"));
      continue;
    }
    Dataset labeled = open_dataset(root, split);
    photos.splits.insert(photos.splits.end(), labeled.samples.size(), split);
    std::vector<Sample> all = std::move(photos.dataset.samples);
    std::ranges::move(labeled.samples, std::back_inserter(all));
    photos.dataset = std::move(labeled);
    photos.dataset.samples = std::move(all);
  }
  if (photos.splits.empty()) {
    throw InputError("no labelled photo to divide", root, "add masks to the photos");
  }
  return photos;
}

void split(const SplitOptions& options) {
  const GroupBy by = parse_group_by(options.by);
  const std::array<double, 3> shares = shares_of(options);
  check_output(options);
  if (is_pack(options.dataset) || is_split_file(options.dataset)) {
    throw InputError("a data set's folder is divided, this is a file", options.dataset,
                     "divide the folder that it was made of");
  }
  const LabelSet labels =
      make_label_set(options.label_set, parse_void_policy(options.void_policy), options.dataset);
  const Photos photos = photos_of(options.dataset);
  std::vector<std::string> groups = groups_of(photos.dataset, by);
  if (by == GroupBy::random) {  // photos of one name in two splits are two
    for (size_t i = 0; i < groups.size(); ++i) groups[i] = photos.splits[i] + "/" + groups[i];
  }
  const std::vector<size_t> parts = divide(groups, shares, static_cast<uint64_t>(options.seed));

  SplitFile file{options.dataset, options.by, options.seed, {}};
  std::array<std::set<std::string>, kParts.size()> groups_in;
  for (size_t i = 0; i < parts.size(); ++i) {
    file.splits[kParts[parts[i]]].push_back({photos.splits[i], photos.dataset.samples[i].id});
    groups_in[parts[i]].insert(groups[i]);
  }
  std::vector<SplitScan> scans;
  for (const char* part : kParts) {
    if (file.splits.contains(part)) scans.push_back(scan_division(file, options.output, part));
  }
  ProgressLine progress("checking");
  const CheckReport report =
      check_splits(scans, options.dataset, labels, options.threads,
                   [&](int64_t done, int64_t total) { progress.show(done, total); });
  print_class_shares(report);
  print_issues(report);
  if (report.errors() > 0) {
    throw InputError(
        fmt::format("{} errors in the data set; no division was written", report.errors()),
        options.dataset, "mend or remove the files listed");
  }
  write_split_file(options.output, file);
  std::vector<std::string> words;
  for (size_t part = 0; part < kParts.size(); ++part) {
    if (groups_in[part].empty()) continue;
    words.push_back(fmt::format("{} {} photos", kParts[part], file.splits.at(kParts[part]).size()));
    if (by != GroupBy::random) words.back() += fmt::format(" of {} groups", groups_in[part].size());
  }
  print_summary("{}: {}\n", options.output, joined(words));
}

}  // namespace

void add_split(CommandLine& line) {
  Command command =
      line.add("split", "Divide a data set into training, validation and test, without a copy");
  auto options = std::make_shared<SplitOptions>();
  command.option("dataset", &options->dataset, "Data set folder").required();
  command
      .option("--by", &options->by,
              "What stays together: sequence (videos, by names), city (Cityscapes' names, or "
              "folders) or random (nothing)")
      .required();
  command.option("--val", &options->val, "Share of the photos for validation").show_default();
  command.option("--test", &options->test, "Share of the photos for test").show_default();
  command.option("--seed", &options->seed, "Draws the division")
      .range(0, std::numeric_limits<int64_t>::max())
      .show_default();
  command
      .option("-o,--output", &options->output,
              "The file to write, *.toml: a data set for every command")
      .required();
  command
      .option("--label-set", &options->label_set,
              "For the classes' shares: categories8, trainids19, camvid11, custom, or auto")
      .show_default();
  command.option("--void", &options->void_policy, "ignore, class, or auto: as usual for the set")
      .show_default();
  command.option("--threads", &options->threads, "0 = all cores").range(0, 1024).show_default();
  command.run([options] { split(*options); });
}

}  // namespace macadam
