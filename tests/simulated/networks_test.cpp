// Whole networks of models/realtime on the simulated device, with their auxiliary heads: a training
// step has one result, whatever the order in which streams get on, and it is the CPU's but for
// rounding. What the small networks of the other tests lack is here: real widths and depths,
// grouped convolutions, pyramids of pooling, attention.

#include "base/to_size.h"
#include "engine/train/training_step.h"
#include "models/network.h"
#include "tests/engine/device_cases.h"
#include "tests/engine/memory_source.h"
#include "tests/simulated/under_schedules.h"

using namespace macadam;
using namespace macadam::simulated;
using namespace macadam::testing;

namespace {

constexpr Shape kBatch{3, 64, 96, 3};
constexpr int kClasses = 4;
constexpr uint64_t kSeed = 7;

Graph network(const std::string& name) {
  return build_network({name, kClasses, {{"auxiliary", "0.4"}}}, kBatch);
}

struct Stepped {
  float loss = 0;
  std::vector<float> gradients;  // of all parameters

  bool operator==(const Stepped&) const = default;
};

Stepped step(Device device, const std::string& name) {
  DeviceContext place(device);
  const Graph graph = network(name);
  Parameters parameters(graph.parameters(), place.stream, true);
  parameters.initialize(kSeed);
  TrainingStepOptions options;
  options.seed = 3;
  options.optimizer.kind = OptimizerKind::sgd;
  TrainingStep training(graph, parameters, place, options);
  MemorySource source(kBatch.n, kBatch, kClasses, 2);
  source.start(0, 0);
  training.run(source.next(), 0, 0.05f);
  Stepped stepped;
  stepped.loss = training.finish().value().loss.total;
  for (size_t p = 0; p < parameters.size(); ++p) {
    if (!parameters.specs()[p].trainable()) continue;
    const std::vector<float> values = parameters.read(p, Parameters::Field::gradient);
    stepped.gradients.insert(stepped.gradients.end(), values.begin(), values.end());
  }
  return stepped;
}

class SimulatedNetworks : public ::testing::TestWithParam<std::string> {};

TEST_P(SimulatedNetworks, StepHasOneResultAndItIsTheCpus) {
  const std::vector<Stepped> found = results_of([] { return step(kGpu, GetParam()); }, 3);
  ASSERT_EQ(found.size(), 1u) << "results that depend on the schedule";
  const Stepped cpu = step(Device{}, GetParam());
  EXPECT_NEAR(found[0].loss, cpu.loss, 1e-4 * cpu.loss);
  // Batch norms of a few values and steep attention enlarge what fp32 rounds.
  expect_near(found[0].gradients, cpu.gradients, 5e-2);
}

#if defined(__SANITIZE_ADDRESS__)  // takes minutes, and sees the same kernels in small networks
const auto kNetworks = ::testing::Values("swiftnet_rn18");
#else
const auto kNetworks = ::testing::Values("ddrnet23_slim", "pidnet_s", "swiftnet_rn18", "fast_scnn");
#endif

INSTANTIATE_TEST_SUITE_P(, SimulatedNetworks, kNetworks,
                         [](const auto& tested) { return tested.param; });

}  // namespace
