// Photos that a predictor sees together have the masks that they have alone, bit for bit.

#include <gtest/gtest.h>
#include <omp.h>

#include <thread>

#include "base/to_size.h"
#include "engine/infer/predictor.h"
#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/hashed.h"
#include "tests/engine/replicas.h"
#include "tests/engine/small_networks.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr int kHeight = 16, kWidth = 24, kClasses = 5, kPhotos = 7;

struct Case {
  DType dtype;
  bool half;
};

class PredictorBatch : public ::testing::TestWithParam<Case> {
 protected:
  static Graph graph(int batch) {
    const Shape input{batch, kHeight, kWidth, 3};
    return GetParam().half ? half_scores(input, kClasses) : small_resnet(input, kClasses);
  }

  static std::vector<uint8_t> photo(uint32_t seed, int height = kHeight, int width = kWidth) {
    std::vector<uint8_t> rgb(to_size(height * width * 3));
    for (size_t i = 0; i < rgb.size(); ++i) {
      rgb[i] = static_cast<uint8_t>(hashed(seed, static_cast<uint32_t>(i)) >> 24);
    }
    return rgb;
  }

  DeviceContext context_;
  Parameters parameters_{graph(1).parameters(), context_.stream, false};
};

TEST_P(PredictorBatch, GivesEachWhatItHasAlone) {
  set_hashed_values(parameters_);
  const PredictorOptions options{GetParam().dtype, {}, false, true};
  const std::vector<Graph> graphs{graph(1), graph(4), graph(2)};
  Predictor together(graphs, parameters_, context_, options);
  Predictor alone(graph(1), parameters_, context_, options);
  std::vector<std::vector<uint8_t>> photos;
  for (int i = 0; i < kPhotos; ++i) photos.push_back(photo(static_cast<uint32_t>(i)));
  photos.push_back(photo(99, 20, 31));  // of another size: windows
  for (const bool resized : {false, true}) {
    for (size_t count = 1; count <= photos.size(); ++count) {
      std::vector<Prediction> made(count);
      std::vector<PredictionTask> tasks;
      for (size_t i = 0; i < count; ++i) {
        const bool windows = i == kPhotos;
        const PhotoView view{photos[i], windows ? 20 : kHeight, windows ? 31 : kWidth};
        const int height = resized ? 9 + static_cast<int>(i) : view.height;
        const PredictionWishes wishes{
            .flip = i == 3, .confidence = i % 2 == 0, .scores = resized && i == 5};
        tasks.push_back({view, height, view.width, wishes, &made[i]});
      }
      together.run(tasks);
      for (size_t i = 0; i < count; ++i) {
        Prediction expected;
        alone.run({&tasks[i].view, 1}, tasks[i].height, tasks[i].width, tasks[i].wishes, expected);
        EXPECT_EQ(made[i].classes, expected.classes) << i << " of " << count;
        EXPECT_EQ(made[i].confidence, expected.confidence) << i << " of " << count;
        EXPECT_EQ(made[i].scores, expected.scores) << i << " of " << count;
        EXPECT_EQ(made[i].confidence.empty(), i % 2 != 0);
      }
    }
  }
}

TEST_P(PredictorBatch, NetworksOfAPredictorShareTheArenaOfTheLargest) {
  const PredictorOptions options{GetParam().dtype, {}, false, false};
  const auto bytes = [&](std::vector<int> batches) {
    std::vector<Graph> graphs;
    for (const int batch : batches) graphs.push_back(graph(batch));
    return Predictor(graphs, parameters_, context_, options).bytes();
  };
  const size_t one = bytes({1}), many = bytes({1, 8}), all = bytes({1, 2, 4, 8});
  EXPECT_GT(one, 0u);
  EXPECT_GT(many, one);
  // Photos and masks of two and of four; oneDNN may want other weights for other batches.
  const size_t weights = parameters_.bytes();
  EXPECT_LE(all, many + 6 * kHeight * kWidth * 4 + 3 * weights);
  EXPECT_EQ(bytes({1, 8, 4, 2}), all);
}

TEST_P(PredictorBatch, ReplicasShareTheirWeightsAndNothingElse) {
  set_hashed_values(parameters_);
  const PredictorOptions options{GetParam().dtype, {}, false, true};
  const std::vector<Graph> graphs{graph(1), graph(2)};
  constexpr size_t kReplicas = 3;
  const auto bytes = [&](size_t count) {
    return Replicas(count, graphs, parameters_, {}, options).bytes();
  };
  const size_t one = bytes(1), two = bytes(2), three = bytes(3);
  EXPECT_EQ(three - two, two - one);
  EXPECT_LT(two, 2 * one);
  Replicas replicas(kReplicas, graphs, parameters_, {}, options);
  Predictor alone(graph(1), parameters_, context_, options);
  std::vector<Prediction> found(3 * kReplicas);
  std::vector<std::vector<uint8_t>> photos;
  for (uint32_t i = 0; i < found.size(); ++i) photos.push_back(photo(i));
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < kReplicas; ++t) {
    threads.emplace_back([&, t] {
      omp_set_num_threads(1);
      std::vector<PredictionTask> tasks;
      for (size_t i = 3 * t; i < 3 * (t + 1); ++i) {
        tasks.push_back({{photos[i], kHeight, kWidth}, kHeight, kWidth, {}, &found[i]});
      }
      for (int again = 0; again < 5; ++again) replicas[t].run(tasks);
    });
  }
  threads.clear();
  for (size_t i = 0; i < photos.size(); ++i) {
    const Prediction wanted = alone.run(photos[i], kHeight, kWidth, kHeight, kWidth, false);
    EXPECT_EQ(found[i].classes, wanted.classes) << i;
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const DType dtype : cpu_dtypes()) {
    for (const bool half : {false, true}) all.push_back({dtype, half});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(, PredictorBatch, ::testing::ValuesIn(cases()), [](const auto& trial) {
  return std::string(name_of(trial.param.dtype)) + (trial.param.half ? "Half" : "Resnet");
});

}  // namespace
