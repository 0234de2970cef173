// Evaluation, prediction and serving on the simulated device: under every schedule the masks,
// counts and losses of the CPU.

#include <omp.h>

#include <array>
#include <thread>

#include "base/to_size.h"
#include "engine/infer/evaluator.h"
#include "engine/infer/inference_pool.h"
#include "engine/infer/predictor.h"
#include "tests/engine/device_cases.h"
#include "tests/engine/loader_slot.h"
#include "tests/engine/memory_source.h"
#include "tests/engine/on_device.h"
#include "tests/simulated/under_schedules.h"

using namespace macadam;
using namespace macadam::simulated;
using namespace macadam::testing;

namespace {

constexpr int kClasses = 4;

std::vector<uint8_t> photo(int height, int width, uint32_t seed) {
  std::vector<uint8_t> rgb(to_size(height * width * 3));
  for (size_t i = 0; i < rgb.size(); ++i) {
    rgb[i] = static_cast<uint8_t>(hashed(seed, static_cast<uint32_t>(i)) >> 24);
  }
  return rgb;
}

struct Evaluated {
  std::vector<uint64_t> counts;
  std::vector<double> losses;
  std::vector<uint8_t> predictions;  // of all batches

  bool operator==(const Evaluated&) const = default;
};

/// Two passes, with other parameters each, over batches in a pinned slot.
Evaluated evaluate(Device device) {
  constexpr Shape kBatch{2, 8, 12, 3};
  DeviceContext place(device);
  const Graph graph = small_resnet(kBatch, kClasses);
  Parameters parameters(graph.parameters(), place.stream, false);
  set_hashed_values(parameters);
  EvaluatorOptions options;
  options.class_weights = {1, 2, 3, 0.5f};
  Evaluator evaluator(graph, parameters, place, options);
  MemorySource source(5, kBatch, kClasses, 1);
  LoaderSlot slot(device, kBatch);
  Evaluated found;
  for (const int pass : {0, 1}) {
    if (pass == 1) {
      parameters.initialize(9);
      evaluator.reset();
    }
    source.start(pass, 0);
    for (int64_t i = 0; i < source.batches(); ++i) {
      evaluator.add(slot.fill(source.next()));
      slot.refill();
      const uint8_t* predictions = evaluator.predictions();
      found.predictions.insert(found.predictions.end(), predictions, predictions + kBatch.pixels());
    }
    const ConfusionMatrix confusion = evaluator.confusion();
    found.counts.insert(found.counts.end(), confusion.counts().begin(), confusion.counts().end());
    found.losses.push_back(evaluator.mean_loss());
  }
  return found;
}

TEST(SimulatedEvaluator, CountsAsTheCpuDoes) {
  const std::vector<Evaluated> found = results_of([] { return evaluate(kGpu); });
  ASSERT_EQ(found.size(), 1u);
  const Evaluated cpu = evaluate(Device{});
  EXPECT_EQ(found[0].counts, cpu.counts);
  EXPECT_EQ(found[0].predictions, cpu.predictions);
  for (size_t i = 0; i < cpu.losses.size(); ++i) {
    EXPECT_NEAR(found[0].losses[i], cpu.losses[i], 1e-5);
  }
}

struct Seen {
  std::vector<uint8_t> classes, confidence;
  std::vector<float> scores;

  bool operator==(const Seen&) const = default;
};

/// Photos of the window's size and of another, seen by up to three windows at once, each twice;
/// masks of several sizes.
Seen see(Device device, bool flip) {
  DeviceContext place(device);
  const std::vector<Graph> graphs{small_resnet({1, 8, 12, 3}, kClasses),
                                  small_resnet({3, 8, 12, 3}, kClasses)};
  Parameters parameters(graphs.front().parameters(), place.stream, false);
  set_hashed_values(parameters);
  PredictorOptions options;
  options.flip = flip;
  options.confidence = true;
  Predictor predictor(graphs, parameters, place, options);
  Seen seen;
  for (uint32_t i = 0; i < 6; ++i) {
    const int height = i % 2 == 0 ? 8 : 11, width = i % 2 == 0 ? 12 : 17;
    const bool keep = i == 2 || i == 3;
    const Prediction p =
        predictor.run(photo(height, width, i), height, width, i < 4 ? height : 9, width, keep);
    seen.classes.insert(seen.classes.end(), p.classes.begin(), p.classes.end());
    seen.confidence.insert(seen.confidence.end(), p.confidence.begin(), p.confidence.end());
    seen.scores.insert(seen.scores.end(), p.scores.begin(), p.scores.end());
  }
  return seen;
}

TEST(SimulatedPredictor, SeesWhatTheCpuSees) {
  for (const bool flip : {false, true}) {
    SCOPED_TRACE(flip);
    const std::vector<Seen> found = results_of([&] { return see(kGpu, flip); });
    ASSERT_EQ(found.size(), 1u);
    const Seen cpu = see(Device{}, flip);
    EXPECT_EQ(found[0].classes, cpu.classes);
    ASSERT_EQ(found[0].confidence.size(), cpu.confidence.size());
    for (size_t i = 0; i < cpu.confidence.size(); ++i) {
      ASSERT_NEAR(found[0].confidence[i], cpu.confidence[i], 1);
    }
    expect_near(found[0].scores, cpu.scores, 1e-5);
  }
}

using Masks = std::vector<std::vector<uint8_t>>;

struct Served {
  Masks masks;
  InferencePoolStatistics statistics;
};

/// The masks of photos of two sizes, seen by three threads over the pool's replicas.
Served serve(Device device, DType dtype, int replicas, size_t memory_limit = 0) {
  InferencePoolOptions options;
  options.dtype = dtype;
  options.buckets = {{1, 8, 12, 3}, {2, 6, 8, 3}};
  options.replicas = replicas;
  options.memory_limit = memory_limit;
  const auto build = [](const Shape& shape) { return small_resnet(shape, kClasses); };
  Stream stream(device);
  Parameters parameters(build(options.buckets[0]).parameters(), stream, false);
  set_hashed_values(parameters);
  InferencePool pool(build, parameters, device, options);

  constexpr size_t kThreads = 3, kPhotos = 12;
  struct Photo {
    int height, width;
    std::vector<uint8_t> rgb;
  };
  std::vector<Photo> photos;
  Masks masks;
  for (uint32_t i = 0; i < kPhotos; ++i) {
    const int height = i % 4 < 2 ? 8 : 5, width = i % 4 < 2 ? 11 : 8;
    photos.push_back({height, width, photo(height, width, i)});
    masks.emplace_back(to_size(height * width), uint8_t{255});
  }
  const auto image = [&](size_t i) {
    return InferenceImage{photos[i].height, photos[i].width, photos[i].rgb, masks[i]};
  };
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, i = 4 * t] {
      omp_set_num_threads(1);
      const InferenceImage pair[] = {image(i + 2), image(i + 3)};
      for (int again = 0; again < 3; ++again) {  // run, recorded, replayed
        pool.run(std::array{image(i)});
        pool.run(pair);
        pool.run(std::array{image(i + 1)});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return {masks, pool.statistics()};
}

TEST(SimulatedPool, ThreadsOnReplicasGetTheCpusMasks) {
  const std::vector<Masks> found = results_of([] { return serve(kGpu, DType::f32, 3).masks; });
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0], serve(Device{}, DType::f32, 1).masks);
}

TEST(SimulatedPool, Bf16MasksAreThoseOfOneReplica) {
  const std::vector<Masks> found = results_of([] { return serve(kGpu, DType::bf16, 2).masks; });
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0], serve(kGpu, DType::bf16, 1).masks);
}

TEST(SimulatedPool, PlansMayGoWhileOthersRun) {
  const Served unlimited = serve(kGpu, DType::f32, 1);
  ASSERT_EQ(unlimited.statistics.plans, 2u);
  const size_t too_little = unlimited.statistics.bytes - 1;  // for both
  under_schedules([&] {
    const Served served = serve(kGpu, DType::f32, 2, too_little);
    EXPECT_EQ(served.masks, unlimited.masks);
    EXPECT_GT(served.statistics.dropped, 0);
  });
}

}  // namespace
