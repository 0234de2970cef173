// A training step, an evaluated batch and a predicted photo allocate nothing once they are warm.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <omp.h>

#include "base/to_size.h"
#include "engine/infer/evaluator.h"
#include "engine/infer/predictor.h"
#include "engine/train/training_step.h"
#include "models/network.h"
#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/memory_source.h"
#include "tests/engine/small_networks.h"
#include "tests/engine_memory/watched_heap.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr Shape kInput{2, 32, 48, 3};
constexpr int kClasses = 8;
constexpr int kSteps = 3;

void expect_none(const char* what, const Allocations& found) {
  std::printf("%s: allocations: project %ld, oneDNN %ld, OpenMP %ld, unknown %ld\n", what,
              found.project, found.onednn, found.openmp, found.unknown);
  EXPECT_EQ(found.project, 0);
  EXPECT_EQ(found.unknown, 0);
}

TEST(AllocationCount, SeesWhatTheProjectAllocates) {
  AllocationCount plain;
  const auto memory = std::make_unique<std::vector<int>>(100);
  EXPECT_EQ(plain.stop().project, 2);
  AllocationCount through_library;
  const std::string text = fmt::format("{:>100}", memory->size());
  EXPECT_GE(through_library.stop().project, 1);
  AllocationCount buffer_count;
  const Buffer buffer(Device{}, 1000);
  EXPECT_EQ(buffer_count.stop().project, 1);
  AllocationCount nothing;
  EXPECT_EQ(nothing.stop().project, 0);
}

class AllocationFree : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override { omp_set_num_threads(2); }
  void TearDown() override { omp_set_num_threads(1); }
};

TEST_P(AllocationFree, ATrainingStepHasNone) {
  const struct {
    const char* name;
    Graph graph;
  } networks[] = {{"UNet-mini", build_network({"unet_mini", kClasses, {}}, kInput)},
                  {"residual network", small_resnet(kInput, kClasses)}};
  for (const auto& [name, graph] : networks) {
    SCOPED_TRACE(name);
    DeviceContext context;
    Parameters parameters(graph.parameters(), context.stream, true);
    parameters.initialize(1);
    TrainingStepOptions options;
    options.dtype = GetParam();
    options.loss = make_loss({loss_term("ce"), loss_term("dice")});
    TrainingStep step(graph, parameters, context, options);
    MemorySource source(kInput.n, kInput, kClasses, 1);
    source.start(0, 0);
    const Batch batch = source.next();
    uint64_t done = 0;
    for (int i = 0; i < 2; ++i) step.run(batch, done++, 1e-3f);
    AllocationCount count;
    for (int i = 0; i < kSteps; ++i) step.run(batch, done++, 1e-3f);
    step.finish();
    expect_none(name, count.stop());
  }
}

TEST_P(AllocationFree, AStepWithEverythingOnHasNone) {
  const Graph graph = small_resnet(kInput, kClasses);
  DeviceContext context;
  Parameters parameters(graph.parameters(), context.stream, true);
  parameters.initialize(1);
  TrainingStepOptions options;
  options.dtype = GetParam();
  options.optimizer.accumulate = 2;
  options.optimizer.clip_norm = 1;
  options.optimizer.ema = 0.99f;
  options.optimizer.loss_scaling = true;
  TrainingStep step(graph, parameters, context, options);
  MemorySource source(kInput.n, kInput, kClasses, 1);
  source.start(0, 0);
  const Batch batch = source.next();
  const auto steps = [&](uint64_t first, uint64_t end) {
    for (uint64_t s = first; s < end; ++s) {
      for (const int64_t i : {0, 1}) step.run(batch, s, 1e-3f, {i, 2});
    }
  };
  steps(0, 2);
  AllocationCount count;
  steps(2, 2 + kSteps);
  step.finish();
  expect_none("accumulated, clipped, scaled and averaged", count.stop());
}

TEST_P(AllocationFree, AnEvaluatedBatchHasNone) {
  const Graph graph = build_network({"unet_mini", kClasses, {}}, kInput);
  DeviceContext context;
  Parameters parameters(graph.parameters(), context.stream, false);
  parameters.initialize(1);
  EvaluatorOptions options;
  options.dtype = GetParam();
  Evaluator evaluator(graph, parameters, context, options);
  MemorySource source(kInput.n, kInput, kClasses, 1);
  source.start(0, 0);
  const Batch batch = source.next();
  evaluator.add(batch);
  AllocationCount count;
  for (int i = 0; i < kSteps; ++i) evaluator.add(batch);
  expect_none("evaluation", count.stop());
}

TEST_P(AllocationFree, APredictedPhotoHasNone) {
  const auto graph_of = [](Shape shape) {
    return build_network({"unet_mini", kClasses, {}}, shape);
  };
  const std::vector<Graph> graphs{graph_of({1, 32, 48, 3}), graph_of({1, 48, 64, 3}),
                                  graph_of({4, 32, 48, 3})};
  DeviceContext context;
  Parameters parameters(graphs.front().parameters(), context.stream, false);
  parameters.initialize(1);
  const std::vector<uint8_t> bytes(size_t{3} * 40 * 80, 77);
  const auto view = [&](int height, int width) {
    const auto size = to_size(3 * height * width);
    return PhotoView{std::span(bytes).first(size), height, width};
  };
  const std::vector<PhotoView> at_once{view(32, 48)}, in_windows{view(40, 80)},
      scales{view(32, 48), view(48, 64)};
  for (const bool flip : {false, true}) {
    Predictor predictor(graphs, parameters, context, {GetParam(), {}, flip});
    Prediction prediction;
    const auto see = [&] {
      predictor.run(at_once, 32, 48, flip, prediction);
      predictor.run(at_once, 70, 90, flip, prediction);
      predictor.run(in_windows, 40, 80, !flip, prediction);
      predictor.run(scales, 60, 70, flip, prediction);
    };
    see();
    AllocationCount count;
    see();
    expect_none(flip ? "prediction, flipped too" : "prediction", count.stop());
  }
}

INSTANTIATE_TEST_SUITE_P(Types, AllocationFree, ::testing::ValuesIn(cpu_dtypes()),
                         [](const auto& type) { return std::string(name_of(type.param)); });

}  // namespace
