#include "run/sweep.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "run/comparison.h"
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

TEST(SweepGrid, VariantsOfTheFileComeFirst) {
  const Config config = parse_config(R"(network = "unet_mini"
dataset = "streets"
[[variant]]
name = "simple"
augment = []
[[variant]]
name = "with dice"
loss = "dice"
augment = [{name = "HorizontalFlip", p = 0.5}]
network = {name = "unet_mini", dropout = 0.1}
)",
                                     "study.toml", {});
  const auto points =
      sweep_grid("study", std::vector<SweepAxis>{{"seed", {"1", "2"}}}, config.variants);
  ASSERT_EQ(points.size(), 4u);
  EXPECT_EQ(points[0].overrides,
            (std::vector<std::string>{"augment=[]", "seed=1", "name=study-simple-1"}));
  EXPECT_EQ(points[3].name, "study-with_dice-2");
  const Config last = parse_config("network = \"unet\"\ndataset = \"streets\"\n", "study.toml",
                                   points[3].overrides);
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
      const std::function<bool()>& stop = [] { return false; }) const {
    return run_sweep(file(), {}, points, halving, told, stop);
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
