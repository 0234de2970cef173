#include "run/sweep.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "run/comparison.h"
#include "run/loss_expression.h"
#include "tests/base/temporary_folder.h"
#include "tests/run/small_run.h"

namespace macadam {
namespace {

using testing::TemporaryFolder;

TEST(SweepAxis, ValuesAreSeparatedByCommasOutsideOfBrackets) {
  const SweepAxis axis = parse_sweep_axis("augment=[],[{name = \"Blur\", p = 0.5}],\"a,b\"");
  EXPECT_EQ(axis.key, "augment");
  EXPECT_EQ(axis.values,
            (std::vector<std::string>{"[]", "[{name = \"Blur\", p = 0.5}]", "\"a,b\""}));
  for (const char* wrong : {"lr", "=1,2", "lr=1", "lr=1,", "lr=,1", "lr=1,1", ""}) {
    EXPECT_THROW(parse_sweep_axis(wrong), InputError) << wrong;
  }
}

TEST(SweepGrid, HasAllCombinationsUnderNamesOfTheirOwn) {
  const std::vector<SweepAxis> axes{{"lr", {"1e-3", "3e-4"}},
                                    {"loss", {"ce", "ce + dice", "ce / dice"}}};
  const auto points = sweep_grid("study", axes);
  ASSERT_EQ(points.size(), 6u);
  EXPECT_EQ(points[0].name, "study-1e-3-ce");
  EXPECT_EQ(points[1].overrides,
            (std::vector<std::string>{"lr=1e-3", "loss=ce + dice", "name=study-1e-3-ce_+_dice"}));
  std::set<std::string> names;
  for (const SweepPoint& point : points) names.insert(point.name);
  EXPECT_EQ(names.size(), 6u);
  EXPECT_THROW(sweep_grid("s", std::vector<SweepAxis>{{"name", {"a", "b"}}}), InputError);
  EXPECT_THROW(sweep_grid("s", std::vector<SweepAxis>{{"lr", {"1", "2"}}, {"lr", {"3", "4"}}}),
               InputError);
  const std::vector<std::string> many(101, "x");
  EXPECT_THROW(sweep_grid("s", std::vector<SweepAxis>{{"a", many}, {"b", many}}), InputError);
}

// Folders have names of at most 100 bytes.
TEST(SweepGrid, LongNamesEndInAHash) {
  const std::string blur = "[{name = \"Blur\", blur_limit = [3, 7], p = 0.5}]";
  const std::string flip = "[{name = \"HorizontalFlip\", p = 0.5}]";
  const std::vector<SweepAxis> axes{
      {"augment", {flip, blur}},
      {"loss",
       {"ce + 0.5*dice + 0.25*focal + lovasz", "ce + 0.5*dice + 0.25*focal + lovasz + edge"}},
      {"dataset",
       {"/data/a/very/long/way/to/streets/one", "/data/a/very/long/way/to/streets/two"}}};
  const auto points = sweep_grid("\xC3\xA4" + std::string(25, 'n'), axes);
  std::set<std::string> names;
  for (const SweepPoint& point : points) {
    names.insert(point.name);
    EXPECT_LE(point.name.size(), 100u);
    EXPECT_EQ(point.overrides.back(), "name=" + point.name);
    EXPECT_NO_THROW(parse_config("network = \"unet_mini\"\ndataset = \"streets\"\n", "study.toml",
                                 std::vector{point.overrides.back()}));
  }
  EXPECT_EQ(names.size(), 8u);
  EXPECT_EQ(sweep_grid("\xC3\xA4" + std::string(25, 'n'), axes)[3].name, points[3].name);
  for (size_t length = 50; length < 100; ++length) {  // wherever a character is cut
    std::string base(length % 2, 'n');
    while (base.size() + 2 <= length) base += "\xC3\xA4";
    EXPECT_NO_THROW(sweep_grid(base, axes)) << length;
    for (const SweepPoint& point : sweep_grid(base, axes)) EXPECT_TRUE(is_utf8(point.name));
  }
}

TEST(SweepGrid, VariantsOfTheFileComeFirst) {
  const TemporaryFolder folder;
  std::ofstream(folder / "study.toml") << R"(network = "unet"
dataset = "streets"
[[variant]]
name = "simple"
augment = []
[[variant]]
name = "with dice"
loss = "dice"
augment = [{name = "HorizontalFlip", p = 0.5}]
network = {name = "unet_mini", dropout = 0.1}
)";
  const Config config = load_config(folder / "study.toml");
  const auto points =
      sweep_grid("study", std::vector<SweepAxis>{{"seed", {"1", "2"}}}, config.variants);
  ASSERT_EQ(points.size(), 4u);
  EXPECT_EQ(points[0].overrides, (std::vector<std::string>{"seed=1", "name=study-simple-1"}));
  EXPECT_EQ(points[3].name, "study-with_dice-2");
  const Config last =
      load_config(folder / "study.toml", {}, points[3].variant, points[3].overrides);
  EXPECT_EQ(last.network, "unet_mini");
  EXPECT_EQ(last.network_options.at("dropout"), "0.1");
  EXPECT_EQ(last.augment.size(), 1u);
  EXPECT_EQ(last.seed, 2u);
  EXPECT_TRUE(to_toml(config).find("variant") == std::string::npos) << "a run is none of a sweep";
  EXPECT_EQ(sweep_grid("study", {}, config.variants).size(), 2u);
  for (const char* wrong : {"variant = 3", "variant = [3]", "[[variant]]\nlr = 1",
                            "[[variant]]\nname = \"a\"\n[[variant]]\nname = \"a\""}) {
    EXPECT_THROW(parse_config(std::string("network = \"unet\"\ndataset = \"s\"\n") + wrong,
                              "study.toml", {}),
                 InputError)
        << wrong;
  }
}

/// The configuration of a variant of `text`, which lies in `folder`.
Config config_of_variant(const TemporaryFolder& folder, const std::string& text,
                         const std::string& name, const std::vector<std::string>& overrides = {}) {
  std::ofstream(folder / "study.toml") << text;
  for (const Variant& variant : load_config(folder / "study.toml", overrides).variants) {
    if (variant.name == name) {
      return load_config(folder / "study.toml", overrides, variant.values, {});
    }
  }
  throw std::logic_error("no such variant");
}

// As the rest of the file: what is relative is seen from its folder, what is dotted is one entry.
TEST(Variants, ArePartsOfTheirFile) {
  const TemporaryFolder folder;
  const std::string text = R"(network = {name = "resnet34_unet", auxiliary = 0.4}
dataset = "streets"
loss = "ohem"
ohem_threshold = 0.5
[early_stopping]
patience = 3
min_delta = 0.25
[[variant]]
name = "a"
dataset = "others"
teacher = "taught/best.safetensors"
weights = "../start.pth"
network.dropout = 0.1
[variant.early_stopping]
patience = 5
[[variant]]
name = "b"
network = {name = "unet_mini"}
loss = "dice"
dataset.test = "tests"
)";
  const Config a = config_of_variant(folder, text, "a");
  EXPECT_EQ(a.dataset.train, (folder / "others").string());
  EXPECT_EQ(a.teacher, (folder / "taught/best.safetensors").string());
  EXPECT_EQ(a.weights, (folder.path().parent_path() / "start.pth").string());
  EXPECT_EQ(a.network, "resnet34_unet");
  EXPECT_EQ(a.network_options,
            (std::map<std::string, std::string>{{"auxiliary", "0.4"}, {"dropout", "0.1"}}));
  EXPECT_EQ(a.patience, 5);
  EXPECT_EQ(a.min_delta, 0.25) << "stands beside it in the table";

  const Config b =
      config_of_variant(folder, text, "b", {"dataset=here", "early_stopping.patience=2"});
  EXPECT_EQ(b.network, "unet_mini");
  EXPECT_TRUE(b.network_options.empty()) << "the table is replaced";
  EXPECT_EQ(loss_text(b.loss), "dice") << "it makes ohem_threshold idle, as an override does";
  EXPECT_EQ(b.dataset.train, std::filesystem::absolute("here").string()) << "of the command line";
  EXPECT_EQ(b.dataset.test, (folder / "tests").string());
  EXPECT_EQ(b.patience, 2);

  for (const char* wrong : {"learning_rate = 3", "early_stopping.patience = 1.5", "lr.x = 3"}) {
    try {
      config_of_variant(folder, text + "[[variant]]\nname = \"c\"\n" + wrong + "\n", "c");
      ADD_FAILURE() << wrong;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("study.toml:23"), std::string::npos) << error.what();
    }
  }
}

TEST(SweepGrid, IsDrawnFromBySeedAlone) {
  const std::vector<SweepAxis> axes{{"a", {"1", "2", "3", "4"}}, {"b", {"1", "2", "3", "4"}}};
  const auto names = [&](size_t count, uint64_t seed) {
    std::vector<std::string> list;
    for (const SweepPoint& point : draw_points(sweep_grid("s", axes), count, seed))
      list.push_back(point.name);
    return list;
  };
  EXPECT_EQ(names(5, 1), names(5, 1));
  EXPECT_NE(names(5, 1), names(5, 2));
  const auto few = names(5, 1), more = names(9, 1);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), more.begin())) << "more begin with the same";
  EXPECT_EQ(names(100, 1).size(), 16u);
}

TEST(Halving, RoundsEndWithTheConfigurationsEpochs) {
  EXPECT_EQ(halving_rounds({}, 30), (std::vector<int64_t>{30}));
  EXPECT_EQ(halving_rounds({3, 3}, 30), (std::vector<int64_t>{3, 9, 27, 30}));
  EXPECT_EQ(halving_rounds({30, 2}, 30), (std::vector<int64_t>{30}));
}

class Told final : public SweepObserver {
 public:
  RunObserver& on_run(const SweepPoint& point, size_t, size_t, int64_t epochs) override {
    runs.emplace_back(point.name, epochs);
    return observer_;
  }
  void on_failure(const SweepPoint& point, const std::string& what) override {
    failures.emplace_back(point.name, what);
  }

  std::vector<std::pair<std::string, int64_t>> runs;
  std::vector<std::pair<std::string, std::string>> failures;

 private:
  RunObserver observer_;
};

class Sweeps : public ::testing::Test {
 protected:
  Sweeps() {
    testing::write_small_streets(folder_.path(), 6);
    std::ofstream(file()) << R"(network = "unet_mini"
dataset = "streets"
size = [32, 64]
batch = 2
precision = "fp32"
device = "cpu"
epochs = 2
runs = "runs"
name = "s"
)";
  }

  std::filesystem::path file() const { return folder_ / "sweep.toml"; }
  SweepResult run(
      const std::vector<SweepPoint>& points, Told& told, const Halving& halving = {},
      const std::function<bool()>& stop = [] { return false; },
      const std::vector<std::string>& overrides = {}) const {
    return run_sweep(file(), overrides, points, halving, told, stop);
  }
  /// The steps with their losses and learning rates, as logged.
  static std::vector<std::string> steps(const std::filesystem::path& run) {
    std::vector<std::string> lines;
    std::ifstream log(run / "log.jsonl");
    for (std::string line; std::getline(log, line);) {
      if (line.find("\"event\":\"step\"") != std::string::npos) lines.push_back(line);
    }
    return lines;
  }

  TemporaryFolder folder_;
};

TEST_F(Sweeps, AFailedRunIsNamedAndTheOthersAreCompared) {
  // The second has no such weights, which shows when it begins.
  const auto points = sweep_grid(
      "s", std::vector<SweepAxis>{{"weights", {"\"\"", "nowhere.pth"}}, {"seed", {"1", "2"}}});
  Told told;
  const SweepResult result = run(points, told);
  EXPECT_EQ(told.runs.size(), 4u);
  ASSERT_EQ(result.failed.size(), 2u);
  EXPECT_EQ(told.failures[0].first, points[2].name);
  EXPECT_NE(told.failures[0].second.find("nowhere.pth"), std::string::npos);
  ASSERT_EQ(result.runs.size(), 2u);

  std::vector<ComparedRun> compared;
  for (const auto& folder : result.runs) compared.push_back(read_compared_run(folder));
  sort_by_score(compared);
  EXPECT_GE(compared[0].results.best_score("miou_"), compared[1].results.best_score("miou_"));
  EXPECT_GT(compared[0].parameters, 400'000);
  const auto tables = comparison_tables(compared);
  ASSERT_EQ(tables.size(), 4u) << "the two seeds are kin, and differ in their settings";
  EXPECT_EQ(tables[0].rows.size(), 2u);
  EXPECT_EQ(tables[1].rows.size(), 1u);
  EXPECT_EQ(tables[2].rows.size(), 8u) << "a row a class";
  EXPECT_EQ(tables[3].rows, (std::vector<std::vector<std::string>>{
                                {"seed", std::string(compared[0].results.setting("seed")),
                                 std::string(compared[1].results.setting("seed"))}}));
  time_models(compared, parse_device("cpu"), "fp32", 3);
  for (const ComparedRun& each : compared) EXPECT_GT(each.milliseconds, 0);
  const auto json = comparison_json(compared);
  EXPECT_EQ(json.at("runs").size(), 2u);
  EXPECT_EQ(json.at("runs")[0].at("scores").at("miou_present"),
            compared[0].results.best_score("miou_"));
}

TEST_F(Sweeps, AreContinuedByTheSameCall) {
  const auto points = sweep_grid("s", std::vector<SweepAxis>{{"seed", {"1", "2", "3"}}});
  int asked = 0;
  Told first;
  const SweepResult stopped = run(points, first, {}, [&] { return ++asked > 10; });
  EXPECT_TRUE(stopped.interrupted);
  EXPECT_LT(first.runs.size(), 3u);
  Told second;
  const SweepResult whole = run(points, second);
  EXPECT_FALSE(whole.interrupted);
  ASSERT_EQ(whole.runs.size(), 3u);
  const auto results = [&](size_t i) { return read_file(whole.runs[i] / "results.csv", 10'000); };
  const std::string before = results(0);
  Told third;
  EXPECT_EQ(run(points, third).runs, whole.runs);
  EXPECT_EQ(results(0), before) << "what has ended is taken as it is";
}

TEST_F(Sweeps, HalvingGoesOnWithTheBest) {
  const auto points = sweep_grid("s", std::vector<SweepAxis>{{"lr", {"1e-9", "1e-3", "1e-8"}}});
  Told told;
  const SweepResult result = run(points, told, {1, 2});
  ASSERT_EQ(told.runs.size(), 5u);
  EXPECT_EQ(told.runs[0].second, 1);
  EXPECT_EQ(told.runs[3].second, 2);
  EXPECT_EQ(told.runs[3].first, "s-1e-3") << "a rate of nothing learns nothing";
  EXPECT_EQ(result.runs.size(), 3u) << "those that were left behind have results too";
}

// A round is a pause: the schedule is that of the whole run, whatever is given or left to defaults.
TEST_F(Sweeps, RoundsArePartsOfTheWholeRun) {
  const auto points = sweep_grid("s", std::vector<SweepAxis>{{"seed", {"1", "2"}}});
  const std::vector<std::vector<std::string>> schedules{
      {"epochs=4", "schedule=step"}, {"epochs=4", "warmup=3"}, {"epochs=4", "schedule=one_cycle"}};
  for (size_t i = 0; i < schedules.size(); ++i) {
    SCOPED_TRACE(schedules[i].back());
    const auto result_in = [&](const std::string& runs, const Halving& halving) {
      std::vector<std::string> overrides = schedules[i];
      overrides.push_back("runs=" + (folder_ / (runs + std::to_string(i))).string());
      Told told;
      const SweepResult result = run(
          points, told, halving, [] { return false; }, overrides);
      EXPECT_TRUE(result.failed.empty()) << told.failures.at(0).second;
      return result.runs;
    };
    const auto halved = result_in("halved", {1, 2}), whole = result_in("whole", {});
    ASSERT_EQ(halved.size(), 2u);
    const auto first = steps(whole[0]), second = steps(whole[1]);
    ASSERT_EQ(first.size(), 12u);
    const bool first_won = steps(halved[0]).size() == 12;
    EXPECT_EQ(steps(halved[first_won ? 0 : 1]), first_won ? first : second);
    const auto& left = first_won ? second : first;
    EXPECT_EQ(steps(halved[first_won ? 1 : 0]), (std::vector(left.begin(), left.begin() + 3)))
        << "the one that is left behind has an epoch";
  }
}

/// The files of the runs with the times of their last changes.
std::map<std::string, std::filesystem::file_time_type> files_of(const SweepResult& result) {
  std::map<std::string, std::filesystem::file_time_type> files;
  for (const auto& run : result.runs) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(run)) {
      if (entry.path().filename() == ".lock" || !entry.is_regular_file()) continue;
      files[entry.path().string()] = entry.last_write_time();
    }
  }
  return files;
}

TEST_F(Sweeps, AFinishedHalvingIsTakenAsItIs) {
  const auto points = sweep_grid("s", std::vector<SweepAxis>{{"lr", {"1e-9", "1e-3", "1e-8"}}});
  Told first, second;
  const SweepResult before = run(points, first, {1, 2});
  const auto files = files_of(before);
  EXPECT_GT(files.size(), 20u);
  EXPECT_EQ(run(points, second, {1, 2}).runs, before.runs);
  EXPECT_EQ(second.runs, first.runs) << "the same go on";
  EXPECT_EQ(files_of(before), files) << "and nothing is written";
  EXPECT_EQ(load_config(before.runs[0] / "config.toml").epochs, 2) << "of the whole run";

  // Of more epochs it is the beginning.
  Told third;
  const SweepResult longer = run(points, third, {1, 2}, [] { return false; }, {"epochs=3"});
  EXPECT_TRUE(longer.failed.empty());
  EXPECT_EQ(third.runs.size(), 6u);
  EXPECT_EQ(steps(longer.runs[1]).size(), 9u);
}

TEST_F(Sweeps, AWrongConfigurationStopsThemAtOnce) {
  Told told;
  EXPECT_THROW(run(sweep_grid("s", std::vector<SweepAxis>{{"lr", {"1e-3", "fast"}}}), told),
               InputError);
  EXPECT_TRUE(told.runs.empty());
}

ComparedRun made(const std::string& name, double score, int64_t macs) {
  ComparedRun run;
  run.results.name = name;
  run.results.history.push_back({.epoch = 1, .scores = {{"miou_present", score}}});
  run.macs = macs;
  return run;
}

TEST(Comparison, TheFrontIsWhatNothingBeats) {
  const std::vector<ComparedRun> runs{made("best", 0.7, 50),  made("worse and dearer", 0.6, 60),
                                      made("cheap", 0.5, 10), made("the same", 0.7, 50),
                                      made("none", NAN, 1),   made("no model", 0.9, 0)};
  EXPECT_EQ(pareto_front(runs), (std::vector<bool>{true, false, true, true, false, false}));
}

TEST(Comparison, RunsWithoutAScoreComeLast) {
  std::vector<ComparedRun> runs{made("none", NAN, 1), made("low", 0.1, 1), made("high", 0.2, 1)};
  sort_by_score(runs);
  EXPECT_EQ(runs[0].results.name, "high");
  EXPECT_EQ(runs[2].results.name, "none");
  EXPECT_EQ(comparison_tables(runs).front().rows[2][5], "–");
}

// The same as the run's best.safetensors, scores.json and report are of.
TEST(RunResults, TheBestEpochIsTheRunsOwn) {
  const auto best = [](const std::string& config, const std::string& rows, int64_t last = 99) {
    const TemporaryFolder folder;
    std::ofstream(folder / "config.toml") << "network = \"unet_mini\"\n" << config;
    std::ofstream(folder / "results.csv")
        << "epoch,step,train_loss,val_loss,miou_present,mdice_present,pixel_accuracy\n"
        << rows;
    const RunResults results = read_run_results(folder.path());
    const EpochRecord* const record = results.best(last);
    if (record == nullptr) return int64_t{0};
    EXPECT_EQ(results.best_score("miou_", last), record->scores.front().value);
    return record->epoch;
  };
  const std::string rows =
      "1,3,1,0.2,0.3,0.3,0.9\n2,6,1,0.3,0.5,0.4,0.8\n3,9,1,0.4,0.4,0.6,0.7\n"
      "4,12,1,0.2,0.5,0.6,0.9\n";
  EXPECT_EQ(best("", rows), 2) << "an older run";
  EXPECT_EQ(best("best_by = \"miou\"\n", rows), 2) << "of equals the first";
  EXPECT_EQ(best("best_by = \"mdice\"\n", rows), 3);
  EXPECT_EQ(best("best_by = \"pixel_accuracy\"\n", rows), 1);
  EXPECT_EQ(best("best_by = \"val_loss\"\n", rows), 1);
  EXPECT_EQ(best("best_by = \"mdice\"\n", rows, 2), 2);
  EXPECT_EQ(best("", "1,3,1,nan,nan,nan,nan\n2,6,1,0.3,0.1,0.1,0.1\n"), 2) << "NaN is below all";
  EXPECT_EQ(best("", ""), 0);
}

TEST(RunResults, ANetworkHasItsNameWithOptionsToo) {
  const TemporaryFolder folder;
  std::ofstream(folder / "config.toml") << "network = {name = \"unet_mini\", dropout = 0.1}\n";
  const RunResults results = read_run_results(folder.path());
  EXPECT_EQ(results.setting("network"), "unet_mini");
  EXPECT_EQ(results.setting("network.dropout"), "0.1");
}

TEST(RunResults, AFolderThatIsNoneIsRefused) {
  const TemporaryFolder folder;
  EXPECT_THROW(read_run_results(folder.path()), InputError);
  std::ofstream(folder / "config.toml") << "network = \"unet_mini\"\n";
  EXPECT_EQ(read_run_results(folder.path()).setting("network"), "unet_mini") << "it has just begun";
  std::ofstream(folder / "scores.json") << "[1]";
  EXPECT_THROW(read_run_results(folder.path()), InputError);
}

}  // namespace
}  // namespace macadam
