#include "server/view/run_shelf.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/folder.h"
#include "engine/infer/metrics.h"
#include "engine/train/run_log.h"
#include "run/run_results.h"

namespace macadam {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr size_t kMostText = size_t{4} << 20, kMostPicture = size_t{32} << 20,
                 kMostReport = size_t{128} << 20;
constexpr std::array<std::string_view, 1> kPictures{".png"};
constexpr const char* kSamples = "samples";
constexpr const char* kEpochs = "epochs";

/// The names of the pictures in a folder, which may be missing.
std::vector<std::string> pictures_in(const fs::path& folder) {
  std::vector<std::string> names;
  if (!fs::is_directory(folder)) return names;
  for (const fs::path& file : files_below(folder, {kPictures, false}).files) {
    if (lies_in(file, folder)) names.push_back(file.filename().string());
  }
  return names;
}

fs::path known_picture(const fs::path& folder, std::string_view name) {
  const auto names = pictures_in(folder);
  if (std::ranges::find(names, name) == names.end()) {
    throw InputError("there is no such picture", folder.string(), "list the run's samples");
  }
  return folder / name;
}

Json values_of(const EpochRecord& record) {
  Json values{{"train_loss", json_number(record.train_loss)},
              {"val_loss", json_number(record.val_loss)}};
  for (const auto& scores : {record.scores, record.terms}) {
    for (const Score& score : scores) values[score.name] = json_number(score.value);
  }
  return values;
}

Json epoch_samples(const fs::path& run) {
  Json samples = Json::object();
  const fs::path folder = run / kSamples / kEpochs;
  if (!fs::is_directory(folder)) return samples;
  for (const std::string& name : folders_in(folder)) samples[name] = pictures_in(folder / name);
  return samples;
}

Json describe(const fs::path& run) {
  Json json{{"name", run.filename().string()}};
  try {
    const RunResults results = read_run_results(run);
    Json config = Json::object();
    for (const auto& [key, value] : results.config) config[key] = value;
    json["config"] = std::move(config);
    json["epochs"] = results.history.size();
    json["seconds"] = results.seconds();
    Json scores = Json::object();
    if (const EpochRecord* best = results.best()) {
      json["best_epoch"] = best->epoch;
      for (const Score& score : best->scores) scores[score.name] = json_number(score.value);
      scores["val_loss"] = json_number(best->val_loss);
    }
    json["scores"] = std::move(scores);
    json["report"] = fs::is_regular_file(run / "report.html");
    json["samples"] = pictures_in(run / kSamples);
    json["epoch_samples"] = epoch_samples(run);
  } catch (const InputError&) {
    json["error"] = "this run's files cannot be read";
  }
  return json;
}

}  // namespace

RunShelf::RunShelf(const fs::path& folder) : folder_(folder) {
  if (!fs::is_directory(folder)) {
    throw InputError("this is no folder of runs", folder.string(),
                     "name the folder that holds the folders of runs");
  }
}

Json RunShelf::list() const {
  std::vector<std::pair<fs::file_time_type, fs::path>> runs;
  for (const std::string& name : folders_in(folder_)) {
    const auto run = find(name);
    if (!run) continue;
    std::error_code error;
    const auto time = fs::last_write_time(*run / "config.toml", error);
    runs.emplace_back(error ? fs::file_time_type::min() : time, *run);
  }
  std::ranges::stable_sort(runs, std::ranges::greater{}, [](const auto& run) { return run.first; });
  Json list = Json::array();
  for (const auto& [time, run] : runs) list.push_back(describe(run));
  return {{"runs", std::move(list)}};
}

std::optional<fs::path> RunShelf::find(std::string_view name) const {
  const auto names = folders_in(folder_);
  if (std::ranges::find(names, name) == names.end()) return std::nullopt;
  fs::path run = folder_ / name;
  if (!fs::is_regular_file(run / "config.toml") || !lies_in(run, folder_)) return std::nullopt;
  return run;
}

Json RunShelf::history(const fs::path& run) {
  Json epochs = Json::array();
  for (const EpochRecord& record : read_results(run / "results.csv")) {
    epochs.push_back({{"epoch", record.epoch},
                      {"lr", json_number(record.lr)},
                      {"seconds", json_number(record.seconds)},
                      {"values", values_of(record)}});
  }
  return {{"epochs", std::move(epochs)}};
}

Json RunShelf::scores(const fs::path& run) {
  const std::string text = read_file(run / "scores.json", kMostText);
  Json scores = Json::parse(text, nullptr, false);
  if (scores.is_discarded() || !scores.is_object()) {
    throw InputError("this is no JSON object", (run / "scores.json").string(), "train again");
  }
  return scores;
}

std::string RunShelf::report(const fs::path& run) {
  return read_file(run / "report.html", kMostReport);
}

std::string RunShelf::sample(const fs::path& run, std::string_view file) {
  return read_file(known_picture(run / kSamples, file), kMostPicture);
}

std::string RunShelf::epoch_sample(const fs::path& run, std::string_view sample,
                                   std::string_view epoch) {
  const fs::path folder = run / kSamples / kEpochs;
  const auto names = fs::is_directory(folder) ? folders_in(folder) : std::vector<std::string>{};
  if (std::ranges::find(names, sample) == names.end()) {
    throw InputError("there is no such sample", folder.string(), "list the run's samples");
  }
  return read_file(known_picture(folder / sample, epoch), kMostPicture);
}

}  // namespace macadam
