// How a plan is chosen, kept and built again: plans are cuDNN's, for an H200 that is only
// described; their times come from the test.

#if defined(MACADAM_HAS_CUDA)

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>

#include "base/error.h"
#include "base/to_size.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/cudnn/tuner.h"
#include "tests/base/temporary_folder.h"
#include "tests/kernels/described_h200.h"
#include "tests/kernels/environment.h"

namespace macadam::cuda {
namespace {

using testing::TemporaryFolder;

std::shared_ptr<const CudnnDevice> h200() {
  static const auto device = std::make_shared<const CudnnDevice>(
      CudnnDevice::described(macadam::testing::described_h200()));
  return device;
}

ConvDesc conv(int channels = 64, DType dtype = DType::bf16) {
  ConvDesc desc;
  desc.input = {8, 128, 256, channels};
  desc.out_channels = 64;
  desc.padding = Padding::all(1);
  desc.dtype = dtype;
  desc.backward = true;
  return desc;
}

/// Times by the order of candidates, the same in every round unless a script is given for each; a
/// negative one is a path that fails. Without a time it takes one millisecond.
class ScriptedTrials final : public ConvTrials {
 public:
  explicit ScriptedTrials(std::vector<float> times = {}) : rounds_{times, times} {}
  ScriptedTrials(std::vector<float> first, std::vector<float> second)
      : rounds_{std::move(first), std::move(second)} {}

  void prepare(ConvDirection, std::span<const ConvPath>) override {
    ++prepared;
    if (no_memory) throw RunError("not enough memory", "", "");
  }
  void warm_up(ConvDirection, const ConvPath& path) override {
    EXPECT_GT(prepared, 0);
    warmed.push_back(path.plan.get());
    if (fails_cold == path.plan.get()) throw RunError("it failed", "", "");
    EXPECT_TRUE(measured.empty()) << "something was measured cold";
  }
  float measure(ConvDirection, const ConvPath& path) override {
    const auto before = [&](const CudnnPlan* plan) {
      return to_size(std::count(measured.begin(), measured.end(), plan));
    };
    const size_t round = before(path.plan.get());
    if (round == 0) candidates_.push_back(path.plan.get());
    measured.push_back(path.plan.get());
    const auto at = std::find(candidates_.begin(), candidates_.end(), path.plan.get());
    const auto i = to_size(at - candidates_.begin());
    const std::vector<float>& times = rounds_.at(round);
    const float time = i < times.size() ? times[i] : 1.0f;
    if (time < 0) throw RunError("it failed", "", "");
    return time;
  }

  bool no_memory = false;
  const CudnnPlan* fails_cold = nullptr;
  int prepared = 0;
  std::vector<const CudnnPlan*> warmed, measured;

 private:
  std::array<std::vector<float>, 2> rounds_;
  std::vector<const CudnnPlan*> candidates_;
};

/// The plans of paths, the list so many times.
std::vector<const CudnnPlan*> plans_of(std::span<const ConvPath> paths, int times = 1) {
  std::vector<const CudnnPlan*> plans;
  for (int i = 0; i < times; ++i) {
    for (const ConvPath& path : paths) plans.push_back(path.plan.get());
  }
  return plans;
}

/// One path for each of several workspace sizes, in descending order. In bf16 all are below 32 MiB;
/// in fp32 the first two take 128 MiB and the last none.
std::vector<ConvPath> paths_by_workspace(size_t count, DType dtype = DType::bf16) {
  std::map<size_t, ConvPath, std::greater<>> found;
  const auto direction = dtype == DType::f32 ? ConvDirection::forward : ConvDirection::weights;
  for (const ConvPath& path : find_paths(*h200(), conv(64, dtype), direction, 40)) {
    found.emplace(path.plan->workspace_bytes(), path);
  }
  std::vector<ConvPath> paths;
  for (const auto& [bytes, path] : found) {
    if (paths.size() < count) paths.push_back(path);
  }
  if (paths.size() < count) throw std::runtime_error("too few plans of different workspaces");
  return paths;
}

TEST(BestPath, IsTheFastestBeyondHalfAPercent) {
  const auto paths = paths_by_workspace(3, DType::f32);
  ScriptedTrials trials({1.0f, 1.01f, 1.02f});
  const BestPath best = best_path(ConvDirection::forward, paths, trials);
  EXPECT_EQ(best.path.plan, paths[0].plan);
  EXPECT_EQ(best.milliseconds, 1.0f);
}

TEST(BestPath, IsTheSmallestAmongTheAboutAsFast) {
  const auto paths = paths_by_workspace(3, DType::f32);
  ScriptedTrials trials({1.0f, 1.002f, 1.004f});
  const BestPath best = best_path(ConvDirection::forward, paths, trials);
  EXPECT_EQ(best.path.plan, paths[2].plan);
  EXPECT_EQ(best.milliseconds, 1.004f);
}

TEST(BestPath, CountsSmallWorkspacesAsNone) {
  const auto paths = paths_by_workspace(4);
  ASSERT_GT(paths[0].plan->workspace_bytes(), paths[3].plan->workspace_bytes());
  ScriptedTrials trials({1.0f, 1.002f, 1.003f, 1.004f});
  EXPECT_EQ(best_path(ConvDirection::weights, paths, trials).path.plan, paths[0].plan);
}

TEST(BestPath, OfEqualsIsTheFirst) {
  const ConvPath path = paths_by_workspace(1).front();
  std::vector<ConvPath> copies;
  for (int i = 0; i < 3; ++i) {
    auto same = build_plan(*h200(), conv(), path.pass, path.plan->recipe());
    copies.push_back({path.pass, std::make_shared<const CudnnPlan>(std::move(*same))});
  }
  ScriptedTrials trials({1.0f, 1.0f, 1.0f});
  EXPECT_EQ(best_path(ConvDirection::weights, copies, trials).path.plan, copies[0].plan);
}

TEST(BestPath, TakesTheLeastTimeOfTwoRounds) {
  const auto paths = paths_by_workspace(3);
  ScriptedTrials trials({1.0f, 3.0f, 2.0f}, {4.0f, 5.0f, 0.5f});
  const BestPath best = best_path(ConvDirection::weights, paths, trials);
  EXPECT_EQ(best.path.plan, paths[2].plan);
  EXPECT_EQ(best.milliseconds, 0.5f);
  EXPECT_EQ(trials.measured, plans_of(paths, 2)) << "a round is over all of them";
  ScriptedTrials disturbed({1.0f, 3.0f, 2.0f}, {9.0f, 9.0f, 9.0f});
  const BestPath first = best_path(ConvDirection::weights, paths, disturbed);
  EXPECT_EQ(first.path.plan, paths[0].plan);
  EXPECT_EQ(first.milliseconds, 1.0f);
}

TEST(BestPath, LeavesOutWhatFailsInEitherRound) {
  const auto paths = paths_by_workspace(3);
  ScriptedTrials trials({0.1f, -1.0f, 3.0f}, {-1.0f, 0.2f, 3.0f});
  EXPECT_EQ(best_path(ConvDirection::weights, paths, trials).path.plan, paths[2].plan);
  EXPECT_EQ(trials.measured.size(), 5u);
}

TEST(BestPath, WarmsUpWithTheFirstThatRuns) {
  const auto paths = paths_by_workspace(3);
  ScriptedTrials warm({1, 2, 3}), cold({1, 2, 3}), failing({3, 2});
  best_path(ConvDirection::weights, paths, warm);
  EXPECT_TRUE(warm.warmed.empty());
  best_path(ConvDirection::weights, paths, cold, kWorkspaceLimit, true);
  EXPECT_EQ(cold.warmed, plans_of(std::span(paths).first(1)));
  EXPECT_EQ(cold.measured, plans_of(paths, 2));

  failing.fails_cold = paths[0].plan.get();
  const BestPath best = best_path(ConvDirection::weights, paths, failing, kWorkspaceLimit, true);
  EXPECT_EQ(best.path.plan, paths[2].plan);
  EXPECT_EQ(failing.warmed, plans_of(std::span(paths).first(2)));
  EXPECT_EQ(failing.measured, plans_of(std::span(paths).last(2), 2));
}

TEST(BestPath, LeavesOutWhatFails) {
  const auto paths = paths_by_workspace(3);
  ScriptedTrials trials({-1.0f, 2.0f, 3.0f});
  EXPECT_EQ(best_path(ConvDirection::weights, paths, trials).path.plan, paths[1].plan);
  ScriptedTrials failing({-1.0f, -1.0f, -1.0f});
  try {
    best_path(ConvDirection::weights, paths, failing);
    FAIL() << "a path was chosen";
  } catch (const RunError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("weight gradient"), std::string::npos) << text;
    EXPECT_NE(text.find("it failed"), std::string::npos) << text;
  }
}

TEST(BestPath, IsTheSmallestWithoutMemoryForTrials) {
  const auto paths = paths_by_workspace(3);
  ScriptedTrials trials;
  trials.no_memory = true;
  const BestPath best = best_path(ConvDirection::weights, paths, trials);
  EXPECT_EQ(best.path.plan, paths[2].plan);
  EXPECT_FALSE(best.milliseconds.has_value());
  EXPECT_TRUE(trials.measured.empty());
}

TEST(BestPath, TakesAWorkspaceBeyondTheLimitOnlyWhereThereIsNoOther) {
  const auto paths = paths_by_workspace(3);
  ScriptedTrials trials({2.0f, 1.0f, 0.1f});
  const size_t second = paths[1].plan->workspace_bytes();
  EXPECT_EQ(best_path(ConvDirection::weights, paths, trials, second).path.plan, paths[2].plan);
  EXPECT_EQ(trials.measured, plans_of(std::span(paths).last(2), 2));

  ScriptedTrials large({1.0f, 2.0f});
  const auto two = std::span(paths).first(2);
  EXPECT_EQ(best_path(ConvDirection::weights, two, large, second - 1).path.plan, paths[0].plan);
}

TEST(FindPaths, LeaveOutPlansBeyondTheLimit) {
  const auto workspaces = [](size_t most) {
    std::vector<size_t> list;
    for (const ConvPath& path : find_paths(*h200(), conv(), ConvDirection::weights, 40, most)) {
      list.push_back(path.plan->workspace_bytes());
    }
    std::sort(list.begin(), list.end());
    return list;
  };
  const std::vector<size_t> all = workspaces(kWorkspaceLimit);
  ASSERT_LT(all.front(), all.back());
  EXPECT_LE(all.back(), kWorkspaceLimit);
  EXPECT_EQ(workspaces(all.front()).back(), all.front());
  EXPECT_LT(workspaces(all.back() - 1).back(), all.back());
}

TEST(ConvTuner, StaysWithinTheLimitOfWorkspaces) {
  ConvDesc desc = conv(64, DType::f32);  // the first choice of the heuristics takes gigabytes
  desc.input = {16, 512, 1024, 64};
  const auto direction = ConvDirection::data;
  const auto unlimited = find_paths(*h200(), desc, direction, 1, ~size_t{0});
  EXPECT_GT(unlimited.front().plan->workspace_bytes(), kWorkspaceLimit);
  ScriptedTrials trials;
  const ConvPath path = ConvTuner(h200(), PlanCache({}, "H200")).choose(desc, direction, trials);
  EXPECT_GT(trials.measured.size(), 1u);
  EXPECT_LE(path.plan->workspace_bytes(), kWorkspaceLimit);
}

TEST(BestPath, ASinglePathIsNotTried) {
  ScriptedTrials trials;
  const BestPath best = best_path(ConvDirection::weights, paths_by_workspace(1), trials);
  EXPECT_FALSE(best.milliseconds.has_value());
  EXPECT_EQ(trials.prepared, 0);
}

TEST(PathKey, TellsApartAllThatDecides) {
  const std::vector<std::function<void(ConvDesc&)>> changes{
      [](ConvDesc& d) { d.input.n = 4; },        [](ConvDesc& d) { d.input.h = 64; },
      [](ConvDesc& d) { d.input.w = 128; },      [](ConvDesc& d) { d.input.c = 32; },
      [](ConvDesc& d) { d.out_channels = 32; },  [](ConvDesc& d) { d.kernel_h = 1; },
      [](ConvDesc& d) { d.kernel_w = 1; },       [](ConvDesc& d) { d.stride = 2; },
      [](ConvDesc& d) { d.dilation = 2; },       [](ConvDesc& d) { d.padding.left = 0; },
      [](ConvDesc& d) { d.padding.right = 0; },  [](ConvDesc& d) { d.padding.top = 0; },
      [](ConvDesc& d) { d.padding.bottom = 0; }, [](ConvDesc& d) { d.groups = 4; },
      [](ConvDesc& d) { d.dtype = DType::f16; }, [](ConvDesc&) {},
  };
  std::set<std::string> keys;
  for (const auto direction :
       {ConvDirection::forward, ConvDirection::data, ConvDirection::weights}) {
    for (const auto& change : changes) {
      ConvDesc desc = conv();
      change(desc);
      const std::string key = path_key(desc, direction);
      EXPECT_TRUE(keys.insert(key).second) << key;
      EXPECT_EQ(key.find_first_of("=\n"), std::string::npos) << key;
    }
  }
}

TEST(PathKey, TakesTheEpilogueForForwardAlone) {
  ConvDesc plain = conv(), biased = conv(), relu = conv();
  biased.bias = relu.bias = true;
  relu.activation = Activation::relu;
  ConvDesc unbiased_relu = relu;
  unbiased_relu.bias = false;
  std::set<std::string> forward, data, weights;
  for (const ConvDesc& desc : {plain, biased, relu, unbiased_relu}) {
    forward.insert(path_key(desc, ConvDirection::forward));
    data.insert(path_key(desc, ConvDirection::data));
    weights.insert(path_key(desc, ConvDirection::weights));
  }
  EXPECT_EQ(forward.size(), 4u);
  EXPECT_EQ(data.size(), 1u);
  EXPECT_EQ(weights.size(), 1u);
  ConvDesc inference = plain;
  inference.backward = inference.input_gradient = false;
  EXPECT_EQ(path_key(inference, ConvDirection::forward), path_key(plain, ConvDirection::forward));
}

class PlanRecipes : public ::testing::TestWithParam<DType> {};

TEST_P(PlanRecipes, BuildThePlansTheyAreOf) {
  size_t built = 0;
  for (const int channels : {3, 19, 64}) {
    for (const ConvPass pass : {ConvPass::forward, ConvPass::forward_bias,
                                ConvPass::forward_bias_relu, ConvPass::data, ConvPass::weights}) {
      const ConvDesc desc = conv(channels, GetParam());
      for (const CudnnPlan& plan : find_plans(*h200(), desc, pass, 10)) {
        const auto again = build_plan(*h200(), desc, pass, plan.recipe());
        ASSERT_TRUE(again.has_value()) << plan.name() << ", " << name_of(pass);
        EXPECT_EQ(again->recipe(), plan.recipe());
        EXPECT_EQ(again->workspace_bytes(), plan.workspace_bytes());
        EXPECT_EQ(again->name(), plan.name());
        ++built;
      }
    }
  }
  EXPECT_GT(built, 50u);
}

INSTANTIATE_TEST_SUITE_P(Types, PlanRecipes, ::testing::Values(DType::bf16, DType::f16, DType::f32),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

TEST(PlanRecipe, OfNoPlanBuildsNone) {
  const PlanRecipe good = find_plans(*h200(), conv(), ConvPass::forward, 1).front().recipe();
  ASSERT_TRUE(build_plan(*h200(), conv(), ConvPass::forward, good).has_value());
  ASSERT_FALSE(good.knobs.empty());
  PlanRecipe value = good, type = good;
  value.knobs[0].value = -77;
  type.knobs[0].type = 9999;
  for (const PlanRecipe& bad : {PlanRecipe{-1, {}}, PlanRecipe{1 << 30, {}},
                                PlanRecipe{good.engine, {{-3, 1}}}, value, type}) {
    EXPECT_FALSE(build_plan(*h200(), conv(), ConvPass::forward, bad).has_value());
  }
}

TEST(PlanRecipe, OfAnInexactEngineBuildsNone) {
  // What serves 16 bits best would serve fp32 too, by rounding it to TF32.
  for (const ConvPass pass : {ConvPass::forward, ConvPass::data, ConvPass::weights}) {
    const int64_t engine = find_plans(*h200(), conv(), pass, 1).front().recipe().engine;
    EXPECT_TRUE(build_plan(*h200(), conv(), pass, {engine, {}}).has_value()) << name_of(pass);
    const ConvDesc exact = conv(64, DType::f32);
    EXPECT_FALSE(build_plan(*h200(), exact, pass, {engine, {}}).has_value()) << name_of(pass);
  }
}

TEST(ConvTuner, TriesAllPathsOfALongConvolutionAndAFewOfAShortOne) {
  ConvDesc desc = conv();
  const auto tried = [&](ConvDirection direction) {
    ScriptedTrials trials;
    ConvTuner(h200(), PlanCache({}, "H200")).choose(desc, direction, trials);
    return trials.measured.size() / 2;
  };
  desc.input = {8, 512, 1024, 64};
  ASSERT_GT(desc.macs(), 10'000'000'000);
  for (const auto direction : {ConvDirection::weights, ConvDirection::data}) {
    EXPECT_EQ(tried(direction), find_paths(*h200(), desc, direction, 1000).size());
    EXPECT_GT(tried(direction), 30u);
  }
  desc.input = {1, 64, 128, 64};
  EXPECT_EQ(tried(ConvDirection::weights), 10u);
}

TEST(FindPaths, TryThreeUnfusedWhereOthersFuse) {
  ConvDesc desc = conv();
  desc.bias = true;
  desc.activation = Activation::relu;
  const auto unfused = [](const std::vector<ConvPath>& paths) {
    return std::ranges::count_if(paths, [](const ConvPath& path) { return path.epilogue; });
  };
  for (const size_t limit : {size_t{10}, size_t{100}}) {
    const auto paths = find_paths(*h200(), desc, ConvDirection::forward, limit);
    EXPECT_EQ(unfused(paths), 3);
    EXPECT_GE(paths.size(), 10u);
  }
  desc.activation = Activation::silu;
  const auto paths = find_paths(*h200(), desc, ConvDirection::forward, 10);
  EXPECT_EQ(unfused(paths), 10);
}

TEST(ConvTuner, TriesOnceInItsLife) {
  ConvTuner tuner(h200(), PlanCache({}, "H200"));
  ScriptedTrials trials({2.0f, 1.0f}), none;
  const ConvPath path = tuner.choose(conv(), ConvDirection::weights, trials);
  EXPECT_EQ(path.plan.get(), trials.measured.at(1));
  EXPECT_EQ(tuner.choose(conv(), ConvDirection::weights, none).plan, path.plan);
  EXPECT_TRUE(none.measured.empty());
}

TEST(ConvTuner, WarmsUpBeforeTheFirstTrialOfItsLife) {
  ConvTuner tuner(h200(), PlanCache({}, "H200"));
  ScriptedTrials poor, first, second;
  poor.no_memory = true;
  tuner.choose(conv(32), ConvDirection::weights, poor);
  EXPECT_TRUE(poor.warmed.empty());
  tuner.choose(conv(), ConvDirection::weights, first);
  EXPECT_EQ(first.warmed.size(), 1u);
  tuner.choose(conv(), ConvDirection::forward, second);
  EXPECT_TRUE(second.warmed.empty());
  EXPECT_FALSE(second.measured.empty());
}

// As replicas do: all are made before the first of them has a plan.
TEST(ConvTuner, FindsTheChoiceOfAnotherThatWasMadeBefore) {
  const TemporaryFolder folder;
  ConvTuner one(h200(), PlanCache(folder.path(), "H200"));
  ConvTuner other(h200(), PlanCache(folder.path(), "H200"));
  ScriptedTrials none;
  for (const auto direction :
       {ConvDirection::weights, ConvDirection::forward, ConvDirection::data}) {
    ScriptedTrials trials({2.0f, 1.0f});
    const ConvPath path = one.choose(conv(), direction, trials);
    EXPECT_EQ(other.choose(conv(), direction, none).plan->recipe(), path.plan->recipe());
  }
  EXPECT_TRUE(none.measured.empty());
  EXPECT_EQ(none.prepared, 0);
}

TEST(ConvTuner, FindsTheChoiceOfAnEarlierRun) {
  const TemporaryFolder folder;
  ConvDesc biased = conv();
  biased.bias = true;
  biased.activation = Activation::silu;  // nothing fuses it: the path has a second kernel
  std::vector<std::string> names;
  std::vector<PlanRecipe> recipes;
  for (const bool first : {true, false}) {
    ConvTuner tuner(h200(), PlanCache(folder.path(), "H200"));
    for (const auto direction :
         {ConvDirection::forward, ConvDirection::data, ConvDirection::weights}) {
      ScriptedTrials trials({5, 4, 3, 2, 1, 2, 3, 4, 5, 6});
      const ConvPath path = tuner.choose(biased, direction, trials);
      EXPECT_EQ(path.epilogue, direction == ConvDirection::forward);
      EXPECT_EQ(trials.measured.empty(), !first);
      if (first) {
        names.push_back(path.name());
        recipes.push_back(path.plan->recipe());
      } else {
        EXPECT_EQ(path.name(), names[static_cast<size_t>(direction)]);
        EXPECT_EQ(path.plan->recipe(), recipes[static_cast<size_t>(direction)]);
      }
    }
  }
  ScriptedTrials elsewhere;
  ConvTuner(h200(), PlanCache(folder.path(), "H100"))
      .choose(biased, ConvDirection::forward, elsewhere);
  EXPECT_FALSE(elsewhere.measured.empty());
}

TEST(ConvTuner, TriesAgainWhenTheKnownPlanIsNotItself) {
  const TemporaryFolder folder;
  const auto direction = ConvDirection::weights;
  const std::string key = path_key(conv(), direction);
  ScriptedTrials trials;
  ConvTuner(h200(), PlanCache(folder.path(), "H200")).choose(conv(), direction, trials);
  const TunedPlan good = *PlanCache(folder.path(), "H200").find(key);
  EXPECT_EQ(good.milliseconds, 1.0f);

  TunedPlan workspace = good, engine = good, knob = good, epilogue = good;
  workspace.workspace_bytes += 1;
  engine.recipe.engine = 1 << 20;
  knob.recipe.knobs = {{-1, -1}};
  epilogue.epilogue = true;
  for (const TunedPlan& bad : {workspace, engine, knob, epilogue}) {
    PlanCache(folder.path(), "H200").store(key, bad);
    ScriptedTrials again;
    ConvTuner(h200(), PlanCache(folder.path(), "H200")).choose(conv(), direction, again);
    EXPECT_FALSE(again.measured.empty());
    EXPECT_EQ(*PlanCache(folder.path(), "H200").find(key), good);
  }
}

TEST(ConvTuner, DoesNotKeepAChoiceMadeForLackOfMemory) {
  const TemporaryFolder folder;
  ScriptedTrials poor;
  poor.no_memory = true;
  ConvTuner(h200(), PlanCache(folder.path(), "H200")).choose(conv(), ConvDirection::weights, poor);
  EXPECT_TRUE(folder.entries().empty());
}

// What only a GPU can tell.
TEST(CudaConvOps, FindTheChoicesOfAnEarlierRun) {
  if (list_devices().empty()) GTEST_SKIP() << "no CUDA device";
  const TemporaryFolder folder;
  const macadam::testing::Variable cache("MACADAM_CACHE", folder.path().string());
  Stream stream(Device{DeviceKind::cuda, 0});
  const auto file = [&] {
    std::ifstream opened(folder.path() / folder.entries().at(0));
    return std::string(std::istreambuf_iterator<char>(opened), {});
  };
  const std::string first = make_conv_ops(stream)->make(conv())->implementation();
  const std::string times = file();
  EXPECT_EQ(make_conv_ops(stream)->make(conv())->implementation(), first);
  EXPECT_EQ(file(), times) << "timed again";
}

TEST(CudaConvOps, RunDepthwiseConvolutionsOnTheirOwnKernel) {
  if (list_devices().empty()) GTEST_SKIP() << "no CUDA device";
  Stream stream(Device{DeviceKind::cuda, 0});
  ConvDesc desc = conv();
  desc.groups = 64;
  ASSERT_TRUE(is_depthwise(desc));
  const std::string text = make_conv_ops(stream)->make(desc)->implementation();
  EXPECT_EQ(text.find("cuDNN"), std::string::npos) << text;
}

}  // namespace
}  // namespace macadam::cuda

#endif
