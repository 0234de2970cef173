// Evaluation, prediction and serving on the simulated device: under every schedule the masks,
// counts and losses of the CPU.

#include <omp.h>

#include <thread>

#include "base/to_size.h"
#include "engine/infer/evaluator.h"
#include "engine/infer/predictor.h"
#include "tests/engine/device_cases.h"
#include "tests/engine/loader_slot.h"
#include "tests/engine/memory_source.h"
#include "tests/engine/on_device.h"
#include "tests/engine/replicas.h"
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
  for (uint32_t i = 0; i < 8; ++i) {
    // The last two are seen in bands.
    const int height = i >= 6 ? 40 : i % 2 == 0 ? 8 : 11, width = i % 2 == 0 && i < 6 ? 12 : 17;
    const bool keep = i == 2 || i == 3 || i == 7;
    const Prediction p = predictor.run(photo(height, width, i), height, width,
                                       i == 4 || i == 5 ? 9 : height, width, keep);
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

/// Masks by predictors on streams of their own and on one set of weights, a thread each.
Masks serve(Device device, DType dtype, size_t replicas) {
  const std::vector<Graph> graphs{small_resnet({1, 8, 12, 3}, kClasses),
                                  small_resnet({2, 8, 12, 3}, kClasses)};
  Stream stream(device);
  Parameters parameters(graphs.front().parameters(), stream, false);
  set_hashed_values(parameters);
  Replicas all(replicas, graphs, parameters, device, {dtype, {}, false, false, nullptr});

  constexpr size_t kPhotos = 12;  // a multiple of all numbers of replicas, times two
  std::vector<std::vector<uint8_t>> photos;
  for (uint32_t i = 0; i < kPhotos; ++i) photos.push_back(photo(8, 12, i));
  std::vector<Prediction> made(kPhotos);
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < replicas; ++t) {
    threads.emplace_back([&, t] {
      omp_set_num_threads(1);
      for (size_t i = t * kPhotos / replicas; i < (t + 1) * kPhotos / replicas; i += 2) {
        std::vector<PredictionTask> tasks;
        for (const size_t k : {i, i + 1}) {
          tasks.push_back({{photos[k], 8, 12}, i % 4 == 0 ? 8 : 9, 12, {}, &made[k]});
        }
        all[t].run(tasks);
        all[t].run(std::span(tasks).first(1));
      }
    });
  }
  threads.clear();
  Masks masks;
  for (Prediction& one : made) masks.push_back(std::move(one.classes));
  return masks;
}

TEST(SimulatedReplicas, GiveTheCpusMasks) {
  const std::vector<Masks> found = results_of([] { return serve(kGpu, DType::f32, 3); });
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0], serve(Device{}, DType::f32, 1));
}

TEST(SimulatedReplicas, InBf16GiveThoseOfOne) {
  const std::vector<Masks> found = results_of([] { return serve(kGpu, DType::bf16, 2); });
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0], serve(kGpu, DType::bf16, 1));
}

}  // namespace
