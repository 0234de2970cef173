// A pool's masks are those of single plans, whatever the bucket, the replica and the thread.

#include "engine/infer/inference_pool.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "engine/infer/predictor.h"
#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/hashed.h"
#include "tests/engine/photo.h"
#include "tests/engine/small_networks.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr int kClasses = 4;
constexpr Shape kSmall{1, 8, 12, 3}, kPair{2, 8, 12, 3}, kLarge{1, 16, 24, 3};

/// Scores at half the size, up-sampled by the last layer.
/// The photo continued by its edge pixels.
Photo extended(const Photo& p, int height, int width) {
  Photo whole{height, width, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const int from = std::min(y, p.height - 1) * p.width + std::min(x, p.width - 1);
      const uint8_t* pixel = p.rgb.data() + from * 3;
      whole.rgb.insert(whole.rgb.end(), pixel, pixel + 3);
    }
  }
  return whole;
}

class InferencePoolTest : public ::testing::TestWithParam<bool> {
 protected:
  InferencePoolTest() : parameters_(build(kSmall).parameters(), context_.stream, false) {
    set_hashed_values(parameters_);
    options_.buckets = {kLarge, kSmall, kPair};
    options_.normalization.mean = {0.4f, 0.5f, 0.6f};
  }

  static Graph build(const Shape& shape) {
    return GetParam() ? half_scores(shape, kClasses) : small_resnet(shape, kClasses);
  }
  InferencePool pool() { return {build, parameters_, Device{}, options_}; }

  /// The mask by a predictor whose window is the bucket's image.
  std::vector<uint8_t> expected(const Photo& p, const Shape& bucket) {
    Predictor predictor(build({1, bucket.h, bucket.w, 3}), parameters_, context_,
                        {options_.dtype, options_.normalization, false});
    const Photo whole = extended(p, bucket.h, bucket.w);
    const Prediction all = predictor.run(whole.rgb, bucket.h, bucket.w, bucket.h, bucket.w, false);
    std::vector<uint8_t> mask;
    for (int y = 0; y < p.height; ++y) {
      const auto row = all.classes.begin() + y * bucket.w;
      mask.insert(mask.end(), row, row + p.width);
    }
    return mask;
  }

  static std::vector<std::vector<uint8_t>> run(InferencePool& pool,
                                               const std::vector<Photo>& photos) {
    std::vector<std::vector<uint8_t>> masks;
    std::vector<InferenceImage> images;
    for (const Photo& p : photos) masks.emplace_back(p.rgb.size() / 3, uint8_t{255});
    for (size_t i = 0; i < photos.size(); ++i) {
      images.push_back({photos[i].height, photos[i].width, photos[i].rgb, masks[i]});
    }
    pool.run(images);
    return masks;
  }

  DeviceContext context_;
  Parameters parameters_;
  InferencePoolOptions options_;
};

TEST_P(InferencePoolTest, TheLeastBucketThatHoldsABatchIsTaken) {
  options_.buckets.push_back({4, 8, 12, 3});
  const InferencePool p = pool();
  EXPECT_EQ(p.bucket_for(1, 8, 12), kSmall);
  EXPECT_EQ(p.bucket_for(1, 1, 1), kSmall);
  EXPECT_EQ(p.bucket_for(2, 8, 12), kPair);
  EXPECT_EQ(p.bucket_for(3, 2, 2).n, 4);
  EXPECT_EQ(p.bucket_for(1, 9, 12), kLarge);
  EXPECT_EQ(p.bucket_for(1, 8, 13), kLarge);
  EXPECT_THROW(p.bucket_for(1, 17, 1), InputError);
  EXPECT_THROW(p.bucket_for(1, 1, 25), InputError);
  EXPECT_THROW(p.bucket_for(2, 9, 9), InputError);
  EXPECT_THROW(p.bucket_for(5, 1, 1), InputError);
}

TEST_P(InferencePoolTest, MasksAreThoseOfAPredictorBitForBit) {
  for (const DType dtype : cpu_dtypes()) {
    options_.dtype = dtype;
    InferencePool p = pool();
    for (const auto& [height, width, bucket] : {std::tuple{8, 12, kSmall},
                                                {16, 24, kLarge},
                                                {5, 7, kSmall},
                                                {1, 1, kSmall},
                                                {9, 3, kLarge}}) {
      const Photo one = photo(height, width, 7);
      const std::vector<uint8_t> wanted = expected(one, bucket);
      EXPECT_EQ(run(p, {one})[0], wanted) << height << " x " << width;
      EXPECT_EQ(run(p, {one})[0], wanted) << "again";
    }
    const InferencePoolStatistics found = p.statistics();
    EXPECT_EQ(found.batches, 10);
    EXPECT_EQ(found.images, 10);
    EXPECT_EQ(found.made, 2);
    EXPECT_EQ(found.hits, 8);
    EXPECT_EQ(found.plans, 2u);
    EXPECT_EQ(found.dropped, 0);
  }
}

TEST_P(InferencePoolTest, PhotosOfABatchMayDifferInSize) {
  InferencePool p = pool();
  const Photo first = photo(8, 5, 3), second = photo(2, 12, 4);
  const auto masks = run(p, {first, second});
  EXPECT_EQ(masks[0], expected(first, kPair));
  EXPECT_EQ(masks[1], expected(second, kPair));
  EXPECT_EQ(p.statistics().images, 2);
  EXPECT_EQ(p.statistics().batches, 1);
}

TEST_P(InferencePoolTest, ConfidenceIsThePredictorsForThoseWhoWantIt) {
  options_.confidence = true;
  options_.buckets = {kPair};
  InferencePool p = pool();
  const Photo first = photo(8, 12, 3), second = photo(5, 7, 4);
  std::vector<uint8_t> classes(96), confidence(96), other(35);
  const InferenceImage images[] = {{8, 12, first.rgb, classes, confidence},
                                   {5, 7, second.rgb, other, {}}};
  p.run(images);
  Predictor predictor(build({1, 8, 12, 3}), parameters_, context_,
                      {options_.dtype, options_.normalization, false, true});
  const Prediction wanted = predictor.run(first.rgb, 8, 12, 8, 12, false);
  EXPECT_EQ(classes, wanted.classes);
  EXPECT_EQ(confidence, wanted.confidence);
  EXPECT_EQ(other, expected(second, kPair));
}

TEST_P(InferencePoolTest, ReplicasShareTheirWeights) {
  options_.buckets = {kSmall};
  InferencePool single = pool();
  single.prepare();
  options_.replicas = 3;
  InferencePool several = pool();
  several.prepare();
  const InferencePoolStatistics one = single.statistics(), three = several.statistics();
  EXPECT_EQ(one.plans, 1u);
  EXPECT_EQ(three.plans, 3u);
  EXPECT_GT(one.packed_bytes, 0u);
  EXPECT_EQ(three.packed_bytes, one.packed_bytes);
  EXPECT_EQ(three.bytes - three.packed_bytes, 3 * (one.bytes - one.packed_bytes));
  several.prepare();
  EXPECT_EQ(several.statistics().made, 3);
  EXPECT_EQ(several.statistics().hits, 0);  // of batches
}

TEST_P(InferencePoolTest, ThePlansUsedLeastRecentlyAreDroppedAtTheLimit) {
  const Photo small = photo(8, 12, 1), large = photo(16, 24, 2);
  InferencePool measured = pool();
  run(measured, {large});
  run(measured, {small, small});
  options_.memory_limit = measured.statistics().bytes;
  InferencePool p = pool();
  const auto wanted_small = expected(small, kSmall), wanted_large = expected(large, kLarge);
  EXPECT_EQ(run(p, {small})[0], wanted_small);
  run(p, {small, small});
  EXPECT_EQ(p.statistics().dropped, 0);
  run(p, {small});  // the pair is older now
  EXPECT_EQ(run(p, {large})[0], wanted_large);
  EXPECT_GE(p.statistics().dropped, 1);
  EXPECT_LE(p.statistics().bytes, options_.memory_limit);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(run(p, {small})[0], wanted_small);
    EXPECT_EQ(run(p, {small, small})[1], wanted_small);
    EXPECT_EQ(run(p, {large})[0], wanted_large);
    const InferencePoolStatistics found = p.statistics();
    EXPECT_LE(found.bytes, options_.memory_limit);
    EXPECT_EQ(found.made - found.dropped, static_cast<int64_t>(found.plans));
  }
}

TEST_P(InferencePoolTest, AMostRecentPlanStaysAndAnotherGoes) {
  const Photo small = photo(8, 12, 1);
  InferencePool measured = pool();
  run(measured, {photo(16, 24, 1)});
  run(measured, {small});
  options_.memory_limit = measured.statistics().bytes + 16;
  options_.buckets = {kLarge, kSmall, {1, 8, 13, 3}};
  InferencePool p = pool();
  run(p, {photo(16, 24, 1)});
  run(p, {small});
  run(p, {photo(8, 13, 1)});  // fits once the large plan is gone
  EXPECT_EQ(p.statistics().dropped, 1);
  run(p, {small});
  EXPECT_EQ(p.statistics().hits, 1);
}

TEST_P(InferencePoolTest, ManyThreadsGetTheirOwnMasks) {
  options_.replicas = 3;
  for (const bool bounded : {false, true}) {
    if (bounded) {
      InferencePool measured = pool();
      run(measured, {photo(16, 24, 1)});
      options_.memory_limit = measured.statistics().bytes * 2;
    }
    InferencePool p = pool();
    std::vector<Photo> photos;
    std::vector<std::vector<uint8_t>> wanted;
    for (uint32_t i = 0; i < 6; ++i) {
      photos.push_back(i % 2 == 0 ? photo(7, 11, i) : photo(16, 20, i));
      wanted.push_back(expected(photos.back(), i % 2 == 0 ? kSmall : kLarge));
    }
    std::vector<int> wrong(photos.size());
    std::vector<std::thread> threads;
    for (size_t t = 0; t < photos.size(); ++t) {
      threads.emplace_back([&, t] {
        omp_set_num_threads(1);
        for (size_t k = 0; k < 25; ++k) {
          const size_t i = (t + k) % photos.size();
          wrong[t] += run(p, {photos[i]})[0] != wanted[i];
          if (k % 8 == 0) static_cast<void>(p.statistics());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, std::vector<int>(photos.size()));
    const InferencePoolStatistics found = p.statistics();
    EXPECT_EQ(found.batches, 150);
    EXPECT_EQ(found.hits + found.made, 150);
    if (bounded) {
      EXPECT_LE(found.bytes, options_.memory_limit);
    } else {
      EXPECT_LE(found.plans, 6u);
      EXPECT_EQ(found.dropped, 0);
    }
  }
}

TEST_P(InferencePoolTest, WhatCannotBeServedIsRefusedInWords) {
  const auto message = [](const auto& body) {
    try {
      body();
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  options_.memory_limit = 100;
  InferencePool p = pool();
  EXPECT_NE(message([&] { run(p, {photo(8, 12, 1)}); }).find("memory limit"), std::string::npos);
  EXPECT_EQ(p.statistics().plans, 0u);
  EXPECT_NE(message([&] { run(p, {photo(17, 12, 1)}); }).find("12 x 17"), std::string::npos);
  options_.memory_limit = 0;
  options_.buckets.clear();
  EXPECT_NE(message([&] { pool(); }).find("buckets"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(, InferencePoolTest, ::testing::Bool(), [](const auto& trial) {
  return std::string(trial.param ? "LastLayerUpsamples" : "LastLayerScores");
});

}  // namespace
