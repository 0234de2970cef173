// Plans, evaluation, prediction and serving on a CUDA device against the same on the CPU, and
// against themselves where every bit must be the same.

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/to_size.h"
#include "engine/infer/evaluator.h"
#include "engine/infer/predictor.h"
#include "tests/base/temporary_folder.h"
#include "tests/engine/device_cases.h"
#include "tests/engine/hashed.h"
#include "tests/engine/memory_source.h"
#include "tests/engine/photo.h"
#include "tests/engine/replicas.h"
#include "tests/kernels/environment.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

using Place = std::shared_ptr<DeviceContext>;

constexpr Network kServed[] = {{"resnet", small_resnet}, {"half_scores", half_scores}};

/// Pixels with another class.
template <typename Classes>
int64_t differing(const Classes& a, const Classes& b) {
  require(a.size() == b.size(), "as many pixels");
  int64_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

// ---- plans

constexpr int kClasses = 5;  // padded to 8
constexpr Shape kInput{2, 8, 12, 3};

/// Scores of three batches, one after the other; on CUDA the second is captured and the third
/// replayed.
std::vector<float> scores(DeviceContext& place, const Graph& graph, DType dtype,
                          bool pad_channels) {
  Parameters parameters(graph.parameters(), place.stream, false);
  set_hashed_values(parameters);
  PlanOptions options;
  options.dtype = dtype;
  options.pad_channels = pad_channels;
  Plan plan(graph, parameters, place, options);
  plan.pack_weights();
  Replay forward;
  std::vector<float> all, image(to_size(plan.input().shape.elements()));
  for (uint32_t batch = 0; batch < 3; ++batch) {
    for (uint32_t i = 0; i < image.size(); ++i) image[i] = hashed_uniform(50 + batch, i, 1.0f);
    upload(place, image, plan.input());
    forward.run(place.stream, [&] { plan.forward(); });
    const std::vector<float> found = download(place, plan.output());
    all.insert(all.end(), found.begin(), found.end());
  }
  return all;
}

/// With and without padding. 16 bits are compared with fp32: what they differ by is their own
/// rounding, and larger than another order of sums.
void expect_scores_of_the_cpu(DeviceContext& cuda, const Graph& graph) {
  const Place cpu = on_cpu();
  const std::vector<float> wanted = scores(*cpu, graph, DType::f32, false);
  for (const bool pad : {false, true}) {
    for (const auto& [dtype, tolerance] :
         {std::pair{DType::f32, 1e-4}, {DType::bf16, 2e-2}, {DType::f16, 5e-3}}) {
      SCOPED_TRACE(std::string(name_of(dtype)) + (pad ? ", padded" : ""));
      expect_near(scores(cuda, graph, dtype, pad), wanted, tolerance);
    }
  }
}

class CudaRandomGraph : public CudaTest, public ::testing::WithParamInterface<uint32_t> {};

TEST_P(CudaRandomGraph, ScoresAsOnTheCpu) {
  expect_scores_of_the_cpu(*cuda_, random_graph(GetParam(), kInput, kClasses));
}

INSTANTIATE_TEST_SUITE_P(Seeds, CudaRandomGraph, ::testing::Range(0u, 12u));

class CudaPlan : public CudaTest {};

TEST_F(CudaPlan, NetworksScoreAsOnTheCpu) {
  for (const Network& network : kNetworks) {
    SCOPED_TRACE(network.name);
    expect_scores_of_the_cpu(*cuda_, network.build(kInput, kClasses));
  }
}

TEST_F(CudaPlan, BitsAreTheSameAgain) {
  for (const Network& network : kNetworks) {
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      SCOPED_TRACE(std::string(network.name) + " " + std::string(name_of(dtype)));
      const Graph graph = network.build(kInput, kClasses);
      const std::vector<float> first = scores(*cuda_, graph, dtype, true);
      EXPECT_EQ(scores(*cuda_, graph, dtype, true), first);
    }
  }
}

// ---- evaluation

struct Evaluated {
  std::vector<uint64_t> counts;
  std::vector<double> losses;
  std::vector<uint8_t> predictions;  // of the last batch

  bool operator==(const Evaluated&) const = default;
};

/// Two passes, with other parameters each.
Evaluated evaluate(DeviceContext& place, const Network& network, DType dtype) {
  constexpr Shape kBatch{2, 16, 16, 3};
  constexpr int kSamples = 5;  // the last batch is padded
  const Graph graph = network.build(kBatch, kClasses);
  Parameters parameters(graph.parameters(), place.stream, false);
  set_hashed_values(parameters);
  EvaluatorOptions options;
  options.dtype = dtype;
  options.loss = make_loss({loss_term("ce"), loss_term("dice")});
  options.class_weights = {1, 2, 3, 1, 0.5f};
  Evaluator evaluator(graph, parameters, place, options);
  MemorySource source(kSamples, kBatch, kClasses, 1);
  Evaluated found;
  for (const int pass : {0, 1}) {
    if (pass == 1) {
      parameters.initialize(9);
      evaluator.reset();
    }
    source.start(pass, 0);
    for (int64_t i = 0; i < source.batches(); ++i) evaluator.add(source.next());
    const ConfusionMatrix confusion = evaluator.confusion();
    found.counts.insert(found.counts.end(), confusion.counts().begin(), confusion.counts().end());
    found.losses.push_back(evaluator.mean_loss());
  }
  const uint8_t* predictions = evaluator.predictions();
  found.predictions.assign(predictions, predictions + kBatch.pixels());
  return found;
}

class CudaEvaluator : public CudaTest {
 protected:
  /// Up to this share of pixels whose class differs.
  static void expect_same(const Evaluated& got, const Evaluated& wanted, double share,
                          double tolerance) {
    uint64_t pixels = 0, differing_counts = 0;
    for (size_t i = 0; i < wanted.counts.size(); ++i) {
      pixels += wanted.counts[i];
      differing_counts +=
          std::max(wanted.counts[i], got.counts[i]) - std::min(wanted.counts[i], got.counts[i]);
    }
    uint64_t counted = 0;
    for (const uint64_t n : got.counts) counted += n;
    EXPECT_EQ(counted, pixels);
    EXPECT_LE(static_cast<double>(differing_counts), 2 * share * static_cast<double>(pixels));
    EXPECT_LE(static_cast<double>(differing(got.predictions, wanted.predictions)),
              std::max(1.0, share * static_cast<double>(got.predictions.size())));
    for (size_t i = 0; i < wanted.losses.size(); ++i) {
      EXPECT_NEAR(got.losses[i], wanted.losses[i], tolerance * wanted.losses[i]);
    }
  }
};

TEST_F(CudaEvaluator, CountsAsOnTheCpu) {
  for (const Network& network : kNetworks) {
    SCOPED_TRACE(network.name);
    const Place cpu = on_cpu();
    const Evaluated wanted = evaluate(*cpu, network, DType::f32);
    const Evaluated found = evaluate(*cuda_, network, DType::f32);
    expect_same(found, wanted, 1e-3, 1e-4);
    EXPECT_EQ(evaluate(*cuda_, network, DType::f32), found);
    expect_same(evaluate(*cuda_, network, DType::bf16), wanted, 0.1, 3e-2);
    expect_same(evaluate(*cuda_, network, DType::f16), wanted, 2e-2, 5e-3);
  }
}

// ---- masks of photos

class CudaPredictor : public CudaTest {
 protected:
  struct Seen {
    std::vector<uint8_t> classes;
    std::vector<std::vector<float>> scores;  // of each photo that they were kept of
  };

  /// Photos of the window's size and others, masks of the photo's size and others.
  static Seen see(DeviceContext& place, const Network& network, const PredictorOptions& options) {
    const std::vector<Graph> graphs{network.build({1, 8, 12, 3}, kClasses),
                                    network.build({5, 8, 12, 3}, kClasses)};
    Parameters parameters(graphs.front().parameters(), place.stream, false);
    set_hashed_values(parameters);
    Predictor predictor(graphs, parameters, place, options);
    Seen seen;
    const auto run = [&](const Photo& p, int out_height, int out_width, bool keep) {
      Prediction prediction = predictor.run(p.rgb, p.height, p.width, out_height, out_width, keep);
      seen.classes.insert(seen.classes.end(), prediction.classes.begin(), prediction.classes.end());
      if (keep) seen.scores.push_back(std::move(prediction.scores));
    };
    run(photo(8, 12, 1), 8, 12, false);
    run(photo(8, 12, 2), 8, 12, true);
    run(photo(8, 12, 3), 29, 31, false);
    run(photo(8, 12, 4), 13, 29, true);
    run(photo(5, 7, 5), 5, 7, true);
    run(photo(17, 41, 6), 17, 41, false);
    run(photo(12, 16, 7), 6, 20, true);
    return seen;
  }
};

TEST_F(CudaPredictor, MasksAreThoseOfTheCpu) {
  for (const Network& network : kServed) {
    for (const bool flip : {false, true}) {
      SCOPED_TRACE(std::string(network.name) + (flip ? ", flipped too" : ""));
      PredictorOptions options;
      options.flip = flip;
      const Place cpu = on_cpu();
      const Seen wanted = see(*cpu, network, options), found = see(*cuda_, network, options);
      EXPECT_LT(static_cast<double>(differing(found.classes, wanted.classes)),
                1e-3 * static_cast<double>(wanted.classes.size()));
      for (size_t i = 0; i < wanted.scores.size(); ++i) {
        expect_near(found.scores[i], wanted.scores[i], 1e-4);
      }
      EXPECT_EQ(see(*cuda_, network, options).classes, found.classes);

      options.dtype = DType::bf16;
      const Seen rounded = see(*cuda_, network, options);
      EXPECT_LT(static_cast<double>(differing(rounded.classes, wanted.classes)),
                0.1 * static_cast<double>(wanted.classes.size()));
      for (size_t i = 0; i < wanted.scores.size(); ++i) {
        expect_near(rounded.scores[i], wanted.scores[i], 2e-2);
      }
    }
  }
}

class CudaReplicas : public CudaTest {
 protected:
  CudaReplicas() : cache_("MACADAM_CACHE", folder_.path().string()) {}

  /// The masks of photos in pairs and alone, seen by so many threads at once.
  static std::vector<uint8_t> masks(Device device, const Network& network, size_t count) {
    const std::vector<Graph> graphs{network.build({1, 8, 12, 3}, kClasses),
                                    network.build({2, 8, 12, 3}, kClasses)};
    Stream stream(device);
    Parameters parameters(graphs.front().parameters(), stream, false);
    set_hashed_values(parameters);
    Replicas replicas(count, graphs, parameters, device, {});
    constexpr size_t kPhotos = 24;
    std::vector<Photo> photos;
    for (uint32_t i = 0; i < kPhotos; ++i) photos.push_back(photo(8, 12, i));
    std::vector<Prediction> found(kPhotos);
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < count; ++t) {
      threads.emplace_back([&, t] {
        for (size_t i = 3 * t; i < kPhotos; i += 3 * count) {
          std::vector<PredictionTask> tasks;
          for (size_t k = i; k < i + 3; ++k) {
            tasks.push_back({{photos[k].rgb, 8, 12}, k % 2 == 0 ? 8 : 9, 12, {}, &found[k]});
          }
          replicas[t].run(tasks);
        }
      });
    }
    threads.clear();
    std::vector<uint8_t> all;
    for (const Prediction& one : found) {
      all.insert(all.end(), one.classes.begin(), one.classes.end());
    }
    return all;
  }

 private:
  TemporaryFolder folder_;
  macadam::testing::Variable cache_;  // of kernels: later replicas run those that the first timed
};

TEST_F(CudaReplicas, TwoSeeWhatOneSees) {
  for (const Network& network : kServed) {
    SCOPED_TRACE(network.name);
    const Device device = cuda_->stream.device();
    const std::vector<uint8_t> one = masks(device, network, 1);
    EXPECT_EQ(masks(device, network, 2), one);
    const std::vector<uint8_t> wanted = masks(Device{}, network, 1);
    EXPECT_LT(static_cast<double>(differing(one, wanted)),
              1e-3 * static_cast<double>(wanted.size()));
  }
}

}  // namespace
