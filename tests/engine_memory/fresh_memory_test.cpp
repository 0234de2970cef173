// Nothing depends on what memory held before: the same bits come out of zeros and of NaN.

#include <gtest/gtest.h>

#include "engine/infer/evaluator.h"
#include "engine/train/training_step.h"
#include "models/network.h"
#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/memory_source.h"
#include "tests/engine/small_networks.h"
#include "tests/engine_memory/watched_heap.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr Shape kInput{2, 8, 12, 3};
constexpr int kClasses = 4;

/// Everything that three steps and an evaluation produce.
struct Outcome {
  std::vector<float> losses;
  std::vector<std::vector<float>> values, gradients;
  ConfusionMatrix confusion{1};
  double validation_loss = 0;

  bool operator==(const Outcome&) const = default;
};

Outcome run(const Graph& graph, DType dtype, uint8_t fresh_byte) {
  const FreshMemory fresh(fresh_byte);
  DeviceContext context;
  Parameters parameters(graph.parameters(), context.stream, true);
  set_hashed_values(parameters);
  TrainingStepOptions options;
  options.dtype = dtype;
  options.loss = make_loss({loss_term("ce"), loss_term("dice")});
  options.seed = 2;
  TrainingStep step(graph, parameters, context, options);
  Evaluator evaluator(graph, parameters, context, {dtype, options.loss, {}, {}});
  MemorySource source(5, kInput, kClasses, 1);  // the last batch is padded

  Outcome outcome;
  source.start(0, 0);
  for (uint64_t i = 0; i < 3; ++i) {
    step.run(source.next(), i, 1e-3f);
    outcome.losses.push_back(step.finish()->loss.total);
  }
  for (size_t p = 0; p < parameters.size(); ++p) {
    outcome.values.push_back(parameters.read(p, Parameters::Field::value));
    outcome.gradients.push_back(parameters.read(p, Parameters::Field::gradient));
  }
  evaluator.reset();
  source.start(0, 0);
  for (int i = 0; i < 3; ++i) evaluator.add(source.next());
  outcome.confusion = evaluator.confusion();
  outcome.validation_loss = evaluator.mean_loss();
  return outcome;
}

void expect_same_from_any_memory(const Graph& graph, DType dtype) {
  const Outcome zeros = run(graph, dtype, 0x00);
  EXPECT_TRUE(zeros == run(graph, dtype, 0xFF));
  for (float loss : zeros.losses) EXPECT_TRUE(std::isfinite(loss));
}

TEST(FreshMemory, DoesNotMatterToUnetMini) {
  const Graph graph = build_network({"unet_mini", kClasses, {}}, kInput);
  for (const DType dtype : cpu_dtypes()) {
    SCOPED_TRACE(name_of(dtype));
    expect_same_from_any_memory(graph, dtype);
  }
}

TEST(FreshMemory, DoesNotMatterToRandomGraphs) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    expect_same_from_any_memory(random_graph(seed, kInput, kClasses),
                                seed % 2 == 0 ? DType::f32 : cpu_dtypes().back());
  }
}

TEST(FreshMemory, IsSpoiledByTheTest) {
  const FreshMemory fresh(0xFF);
  const Buffer buffer(Device{}, 1024);
  EXPECT_TRUE(std::isnan(*reinterpret_cast<const float*>(buffer.data())));
}

}  // namespace
