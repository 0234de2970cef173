// Recording a graph while another thread makes a plan or runs it first, for which cuDNN may
// synchronise the device: what is recorded then is spoilt.

#include <omp.h>

#include <array>
#include <atomic>
#include <barrier>
#include <thread>

#include "base/error.h"
#include "engine/infer/inference_pool.h"
#include "kernels/ops.h"
#include "tests/engine/hashed.h"
#include "tests/engine/small_networks.h"
#include "tests/simulated/under_schedules.h"

using namespace macadam;
using namespace macadam::simulated;
using namespace macadam::testing;

namespace {

TEST(SimulatedRecording, IsSpoiltByAPlanMadeMeanwhile) {
  Stream stream(kGpu), other(kGpu);
  Ops ops = make_ops(other);
  ConvDesc desc;
  desc.input = {1, 4, 4, 8};
  desc.out_channels = 8;
  const auto record = [&](bool meanwhile) {
    return CapturedGraph::record(stream, [&] {
      if (!meanwhile) return;
      std::thread([&] { EXPECT_THROW(ops.conv->make(desc), RunError); }).join();
    });
  };
  EXPECT_THROW(record(true), RunError);
  EXPECT_TRUE(static_cast<bool>(record(false)));
  EXPECT_NE(ops.conv->make(desc), nullptr);
}

// One replica's second run, which records, against the making and the first run of others.
TEST(SimulatedRecording, OfAReplicaMeetsNoPlanInTheMaking) {
  constexpr int kReplicas = 4, kClasses = 4;
  InferencePoolOptions options;
  for (int n = 1; n <= 4; ++n) options.buckets.push_back({n, 8, 12, 3});
  options.replicas = kReplicas;
  const auto build = [](const Shape& shape) { return small_resnet(shape, kClasses); };
  Stream stream(kGpu);
  Parameters parameters(build(options.buckets[0]).parameters(), stream, false);
  set_hashed_values(parameters);
  const std::vector<uint8_t> rgb(8 * 12 * 3, uint8_t{100});

  std::atomic<int> failures = 0;
  for (int trial = 0; trial < 6; ++trial) {
    InferencePool pool(build, parameters, kGpu, options);
    std::barrier start(kReplicas);
    std::vector<std::thread> threads;
    for (size_t t = 0; t < kReplicas; ++t) {
      threads.emplace_back([&, t] {
        omp_set_num_threads(1);
        std::vector<uint8_t> mask(8 * 12);
        start.arrive_and_wait();
        for (size_t k = 0; k < options.buckets.size(); ++k) {
          const size_t images = (t + k) % options.buckets.size() + 1;
          const std::vector<InferenceImage> batch(images, {8, 12, rgb, mask});
          try {
            for (int again = 0; again < 3; ++again) pool.run(batch);
          } catch (const RunError&) {
            ++failures;
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(failures, 0);
}

}  // namespace
