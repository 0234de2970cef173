#include "run/run_results.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/toml.h"
#include "engine/train/run_log.h"

namespace macadam {

namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

constexpr size_t kMostBytes = size_t{4} << 20;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// Scalars by their dotted keys, lists as TOML.
void flatten(const ParameterTable& table, const std::string& prefix,
             std::vector<std::pair<std::string, std::string>>& into) {
  for (const NamedParameter& entry : table) {
    const std::string key = prefix + entry.name;
    if (const auto* below = std::get_if<ParameterTable>(&entry.value.value)) {
      flatten(*below, key + ".", into);
    } else {
      into.emplace_back(key, scalar_text(entry.value).value_or(toml_text(entry.value)));
    }
  }
}

double number_in(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : kNone;
}

std::string text_in(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<BestScores> read_best_scores(const fs::path& file) {
  if (!fs::exists(file)) return std::nullopt;
  const Json json = Json::parse(read_file(file, kMostBytes), nullptr, false);
  const auto fail = [&] [[noreturn]] () {
    throw InputError("these are no scores of a run", file.string(), "train it again, or remove it");
  };
  if (!json.is_object()) fail();
  BestScores scores;
  const double epoch = number_in(json, "epoch");
  scores.epoch = epoch >= 0 && epoch < 1e9 ? static_cast<int64_t>(epoch) : 0;
  scores.device = text_in(json, "device");
  scores.precision = text_in(json, "precision");
  const auto classes = json.find("classes");
  if (classes == json.end() || !classes->is_array()) fail();
  for (const Json& entry : *classes) {
    if (!entry.is_object()) fail();
    scores.classes.push_back(
        {text_in(entry, "name"), number_in(entry, "iou"), number_in(entry, "dice")});
  }
  return scores;
}

}  // namespace

std::string_view RunResults::setting(std::string_view key) const {
  const auto found = std::ranges::find(config, key, &std::pair<std::string, std::string>::first);
  return found == config.end() ? std::string_view() : std::string_view(found->second);
}

BestBy RunResults::best_by() const {
  const std::string_view given = setting("best_by");
  for (const BestBy by : {BestBy::mdice, BestBy::pixel_accuracy, BestBy::val_loss}) {
    if (given == name_of(by)) return by;
  }
  return BestBy::miou;  // of the runs of older versions too
}

const EpochRecord* RunResults::best(int64_t last) const {
  const BestBy by = best_by();
  const EpochRecord* best = nullptr;
  double most = 0;
  for (const EpochRecord& record : history) {
    if (record.epoch > last || record.scores.empty()) continue;
    const bool scored =
        by == BestBy::val_loss || std::ranges::any_of(record.scores, [&](const Score& score) {
          return score.name.starts_with(name_of(by));
        });
    const double found = scored ? merit_of(record, by) : kNone;
    const double merit = std::isnan(found) ? RunState::kNoMerit : found;
    if (best != nullptr && merit <= most) continue;
    best = &record;
    most = merit;
  }
  return best;
}

double RunResults::best_score(std::string_view beginning, int64_t last) const {
  const EpochRecord* const record = best(last);
  if (record == nullptr) return kNone;
  for (const Score& score : record->scores) {
    if (score.name.starts_with(beginning)) return score.value;
  }
  return kNone;
}

double RunResults::seconds() const {
  double sum = 0;
  for (const EpochRecord& record : history) sum += record.seconds;
  return sum;
}

RunResults read_run_results(const fs::path& folder) {
  const fs::path config = folder / "config.toml";
  if (!fs::is_regular_file(config)) {
    throw InputError("this is no folder of a run", folder.string(),
                     "name a folder that macadam train has made, such as runs/first");
  }
  RunResults run;
  run.folder = folder;
  run.name = fs::weakly_canonical(folder).filename().string();
  flatten(parse_toml(read_file(config, kMostBytes), config.string()), "", run.config);
  for (auto& [key, value] : run.config) {
    if (key == "network.name") key = "network";  // of a network with options, which is a table
  }
  run.history = read_results(folder / "results.csv");
  run.best_scores = read_best_scores(folder / "scores.json");
  return run;
}

}  // namespace macadam
