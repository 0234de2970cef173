#include "run/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/to_size.h"
#include "engine/graph/rewrite.h"
#include "engine/infer/predictor.h"
#include "engine/plan/precision.h"
#include "models/loaded_model.h"
#include "report/markup.h"
#include "run/timing.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kDash = "–";

double score_of(const ComparedRun& run) { return run.results.best_score("miou_"); }

std::string percent_or_dash(double value) { return percent(value, kDash); }

std::string number_or_dash(double value, std::string_view format) {
  return std::isfinite(value) && value > 0 ? fmt::format(fmt::runtime(format), value)
                                           : std::string(kDash);
}

/// A model at work on one photo.
class TimedModel {
 public:
  TimedModel(const fs::path& file, Device device, std::string_view precision)
      : context_(device),
        model_(file, context_.stream),
        photo_(photo_to_time(model_.info().height, model_.info().width)) {
    const ModelInfo& info = model_.info();
    const DType dtype = resolve_precision(precision, device_info(device));
    predictor_ = at_size_of(info, file, [&] {
      return std::make_unique<Predictor>(model_.graph(1, info.height, info.width),
                                         model_.parameters(), context_,
                                         PredictorOptions{.dtype = dtype,
                                                          .normalization = info.normalization,
                                                          .flip = false,
                                                          .confidence = false});
    });
  }

  void run() {
    const ModelInfo& info = model_.info();
    const PhotoView view{photo_, info.height, info.width};
    predictor_->run({&view, 1}, info.height, info.width, false, prediction_);
  }

 private:
  DeviceContext context_;
  LoadedModel model_;
  std::vector<uint8_t> photo_;
  std::unique_ptr<Predictor> predictor_;
  Prediction prediction_;
};

Table runs_table(std::span<const ComparedRun> runs) {
  Table table;
  const auto front = pareto_front(runs);
  const bool timed =
      std::ranges::any_of(runs, [](const ComparedRun& run) { return run.milliseconds > 0; });
  table.columns = {{"run"},        {"network"},        {"size"},
                   {"loss"},       {"epoch", true},    {"IoU", true},
                   {"Dice", true}, {"accuracy", true}, {"loss of it", true},
                   {"time", true}, {"an epoch", true}};
  if (timed) table.columns.push_back({"ms/image", true});
  for (const char* title : {"parameters", "GMAC", "MB"}) table.columns.push_back({title, true});
  table.columns.push_back({"device"});
  table.columns.push_back({"front"});
  for (size_t i = 0; i < runs.size(); ++i) {
    const RunResults& results = runs[i].results;
    const EpochRecord* const best = results.best();
    const auto epochs = static_cast<double>(results.history.size());
    std::vector<std::string> row{
        results.name,
        std::string(results.setting("network")),
        std::string(results.setting("size")),
        std::string(results.setting("loss")),
        best == nullptr ? std::string(kDash)
                        : fmt::format("{} of {}", best->epoch, results.history.size()),
        percent_or_dash(score_of(runs[i])),
        percent_or_dash(results.best_score("mdice_")),
        percent_or_dash(results.best_score("pixel_accuracy")),
        number_or_dash(best == nullptr ? NAN : best->val_loss, "{:.4f}"),
        results.history.empty() ? std::string(kDash) : duration(results.seconds()),
        results.history.empty() ? std::string(kDash) : duration(results.seconds() / epochs)};
    if (timed) row.push_back(number_or_dash(runs[i].milliseconds, "{:.2f}"));
    row.push_back(runs[i].parameters == 0 ? std::string(kDash)
                                          : grouped(static_cast<uint64_t>(runs[i].parameters)));
    row.push_back(number_or_dash(static_cast<double>(runs[i].macs) * 1e-9, "{:.3f}"));
    row.push_back(number_or_dash(static_cast<double>(runs[i].model_bytes) * 1e-6, "{:.1f}"));
    row.push_back(results.best_scores && !results.best_scores->device.empty()
                      ? results.best_scores->device
                      : std::string(kDash));
    row.emplace_back(front[i] ? "*" : "");
    table.rows.push_back(std::move(row));
  }
  return table;
}

/// All of a configuration but what tells runs apart that are otherwise the same.
std::string kin_of(const RunResults& results) {
  static const std::set<std::string, std::less<>> kOwn{"seed", "name", "runs"};
  std::string kin;
  for (const auto& [key, value] : results.config) {
    if (!kOwn.contains(key)) kin += fmt::format("{}={}\n", key, value);
  }
  return kin;
}

Table seeds_table(std::span<const ComparedRun> runs) {
  Table table{"Runs that differ in their seeds alone",
              {{"runs"}, {"IoU, mean", true}, {"spread", true}, {"least", true}, {"most", true}},
              {}};
  std::map<std::string, std::vector<const ComparedRun*>> families;
  for (const ComparedRun& run : runs) {
    if (std::isfinite(score_of(run))) families[kin_of(run.results)].push_back(&run);
  }
  for (const auto& [kin, members] : families) {
    if (members.size() < 2) continue;
    std::string names;
    double sum = 0, least = INFINITY, most = -INFINITY;
    for (const ComparedRun* run : members) {
      names += (names.empty() ? "" : ", ") + run->results.name;
      sum += score_of(*run);
      least = std::min(least, score_of(*run));
      most = std::max(most, score_of(*run));
    }
    const double mean = sum / static_cast<double>(members.size());
    double squares = 0;
    for (const ComparedRun* run : members) squares += std::pow(score_of(*run) - mean, 2);
    const double spread = std::sqrt(squares / static_cast<double>(members.size() - 1));
    table.rows.push_back({names, percent(mean), percent(spread), percent(least), percent(most)});
  }
  return table;
}

Table classes_table(std::span<const ComparedRun> runs) {
  Table table{"IoU of the classes", {{"class"}}, {}};
  std::vector<const ComparedRun*> scored;
  for (const ComparedRun& run : runs) {
    if (run.results.best_scores) scored.push_back(&run);
  }
  std::vector<std::string> names;
  for (const ComparedRun* run : scored) {
    table.columns.push_back({run->results.name, true});
    for (const ClassResult& result : run->results.best_scores->classes) {
      if (std::ranges::find(names, result.name) == names.end()) names.push_back(result.name);
    }
  }
  const auto iou = [](const ComparedRun& run, const std::string& name) {
    const auto& classes = run.results.best_scores->classes;
    const auto found = std::ranges::find(classes, name, &ClassResult::name);
    return found == classes.end() ? NAN : found->iou;
  };
  for (const std::string& name : names) {
    std::vector<std::string> row{name};
    const double first = iou(*scored[0], name);
    for (const ComparedRun* run : scored) {
      const double value = iou(*run, name);
      const double better = 100 * (value - first);
      row.push_back(percent_or_dash(value) + (run == scored[0] || !std::isfinite(better)
                                                  ? ""
                                                  : fmt::format(" ({:+.1f})", better)));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table settings_table(std::span<const ComparedRun> runs) {
  Table table{"Settings that differ", {{"key"}}, {}};
  std::vector<std::string> keys;
  for (const ComparedRun& run : runs) {
    table.columns.push_back({run.results.name});
    for (const auto& [key, value] : run.results.config) {
      if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
    }
  }
  for (const std::string& key : keys) {
    if (key == "name") continue;
    std::vector<std::string> row{key};
    bool same = true;
    for (const ComparedRun& run : runs) {
      const std::string value(run.results.setting(key));
      same = same && value == runs[0].results.setting(key);
      row.push_back(value.empty() ? std::string(kDash) : value);
    }
    if (!same) table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

ComparedRun read_compared_run(const fs::path& folder) {
  ComparedRun run;
  run.results = read_run_results(folder);
  const fs::path file = run.results.model();
  if (!fs::exists(file)) return run;
  const ModelInfo info = load_model(file).info;
  const Graph graph = model_network(info, {1, info.height, info.width, 3}, file);
  run.parameters = graph.parameter_count();
  run.macs = for_inference(graph).macs();
  run.model_bytes = fs::file_size(file);
  return run;
}

void time_models(std::span<ComparedRun> runs, Device device, std::string_view precision,
                 int rounds) {
  std::vector<std::unique_ptr<TimedModel>> models;
  std::vector<std::function<void()>> calls;
  std::vector<ComparedRun*> timed;
  for (ComparedRun& run : runs) {
    if (run.model_bytes == 0) continue;
    models.push_back(std::make_unique<TimedModel>(run.results.model(), device, precision));
    calls.emplace_back([model = models.back().get()] { model->run(); });
    timed.push_back(&run);
  }
  const std::vector<double> times = time_in_turns(calls, rounds);
  for (size_t i = 0; i < timed.size(); ++i) timed[i]->milliseconds = times[i];
}

void sort_by_score(std::vector<ComparedRun>& runs) {
  std::ranges::stable_sort(runs, [](const ComparedRun& left, const ComparedRun& right) {
    const double a = score_of(left), b = score_of(right);
    if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
    return a > b;
  });
}

std::vector<bool> pareto_front(std::span<const ComparedRun> runs) {
  const bool timed =
      std::ranges::all_of(runs, [](const ComparedRun& run) { return run.milliseconds > 0; });
  const auto cost = [&](const ComparedRun& run) {
    return timed ? run.milliseconds : static_cast<double>(run.macs);
  };
  std::vector<bool> front;
  for (const ComparedRun& run : runs) {
    const auto beats = [&](const ComparedRun& other) {
      return cost(other) > 0 && score_of(other) >= score_of(run) && cost(other) <= cost(run) &&
             (score_of(other) > score_of(run) || cost(other) < cost(run));
    };
    front.push_back(std::isfinite(score_of(run)) && cost(run) > 0 &&
                    std::ranges::none_of(runs, beats));
  }
  return front;
}

std::vector<Table> comparison_tables(std::span<const ComparedRun> runs) {
  require(!runs.empty(), "at least one run");
  std::vector<Table> tables{runs_table(runs)};
  for (Table& table : std::array{seeds_table(runs), classes_table(runs), settings_table(runs)}) {
    if (!table.rows.empty()) tables.push_back(std::move(table));
  }
  return tables;
}

nlohmann::ordered_json comparison_json(std::span<const ComparedRun> runs) {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  const auto front = pareto_front(runs);
  for (size_t i = 0; i < runs.size(); ++i) {
    const RunResults& results = runs[i].results;
    const EpochRecord* const best = results.best();
    Json scores = Json::object();
    if (best != nullptr) {
      for (const Score& score : best->scores) scores[score.name] = json_number(score.value);
      scores["val_loss"] = json_number(best->val_loss);
    }
    Json classes = Json::array();
    if (results.best_scores) {
      for (const ClassResult& result : results.best_scores->classes) {
        classes.push_back({{"name", result.name},
                           {"iou", json_number(result.iou)},
                           {"dice", json_number(result.dice)}});
      }
    }
    Json config = Json::object();
    for (const auto& [key, value] : results.config) config[key] = value;
    list.push_back({{"name", results.name},
                    {"folder", results.folder.string()},
                    {"best_epoch", best == nullptr ? 0 : best->epoch},
                    {"epochs", results.history.size()},
                    {"scores", std::move(scores)},
                    {"classes", std::move(classes)},
                    {"seconds", results.seconds()},
                    {"milliseconds_an_image",
                     runs[i].milliseconds > 0 ? Json(runs[i].milliseconds) : Json(nullptr)},
                    {"parameters", runs[i].parameters},
                    {"macs", runs[i].macs},
                    {"model_bytes", runs[i].model_bytes},
                    {"pareto_front", static_cast<bool>(front[i])},
                    {"config", std::move(config)}});
  }
  return {{"runs", std::move(list)}};
}

}  // namespace macadam
