// Recording a graph while another thread makes a plan or runs it first, for which cuDNN may
// synchronise the device: what is recorded then is spoilt.

#include <omp.h>

#include <atomic>
#include <barrier>
#include <thread>

#include "base/error.h"
#include "kernels/ops.h"
#include "tests/engine/hashed.h"
#include "tests/engine/replicas.h"
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

// Replicas that are warm record nothing any more, whatever they are asked for: another model may be
// made meanwhile, by one thread.
TEST(SimulatedRecording, WarmReplicasMeetPlansInTheMaking) {
  constexpr size_t kReplicas = 3;
  constexpr int kClasses = 4, kRounds = 6;
  const std::vector<Graph> graphs{small_resnet({1, 8, 12, 3}, kClasses),
                                  small_resnet({2, 8, 12, 3}, kClasses)};
  Stream stream(kGpu);
  Parameters parameters(graphs[0].parameters(), stream, false);
  set_hashed_values(parameters);
  const auto make = [&] {
    return Replicas(kReplicas, graphs, parameters, kGpu, {DType::f32, {}, false, true, nullptr});
  };
  Replicas replicas = make();
  std::atomic<int> failures = 0;
  std::barrier start(kReplicas + 1);
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < kReplicas; ++t) {
    threads.emplace_back([&, t] {
      omp_set_num_threads(1);
      const std::vector<uint8_t> rgb(11 * 17 * 3, uint8_t{100});
      const std::span<const uint8_t> all(rgb), some = all.first(8 * 12 * 3);
      std::vector<Prediction> made(4);
      // Of the network's size, resized, mirrored, in windows.
      const std::vector<PredictionTask> tasks{
          {{some, 8, 12}, 8, 12, {}, &made[0]},
          {{some, 8, 12}, 9, 12, {}, &made[1]},
          {{some, 8, 12}, 8, 12, {true, false, false}, &made[2]},
          {{all, 11, 17}, 11, 17, {true, false, false}, &made[3]}};
      start.arrive_and_wait();
      for (size_t k = 0; k < kRounds; ++k) {
        try {
          replicas[t].run(std::span(tasks).subspan(0, 1));
          replicas[t].run(tasks);
        } catch (const RunError&) {
          ++failures;
        }
      }
    });
  }
  omp_set_num_threads(1);
  start.arrive_and_wait();
  EXPECT_NO_THROW(make());
  threads.clear();
  EXPECT_EQ(failures, 0);
}

}  // namespace
