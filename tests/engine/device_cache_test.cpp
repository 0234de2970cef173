#include "engine/input/device_cache.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/to_size.h"
#include "engine/train/training_step.h"
#include "tests/engine/memory_source.h"
#include "tests/engine/small_networks.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr Shape kInput{2, 8, 8, 3};
constexpr int kClasses = 3, kSamples = 6;
constexpr size_t kSampleBytes = 4 * 8 * 8;

TEST(DeviceCache, HasRoomForTheFirstSamplesAndKeepsWhatIsStored) {
  Stream stream{Device{}};
  DeviceCache cache(Device{}, 3 * kSampleBytes + 17, kSamples, 8, 8);
  EXPECT_EQ(cache.capacity(), 3);
  EXPECT_TRUE(cache.has_room_for(2));
  EXPECT_FALSE(cache.has_room_for(3));
  EXPECT_FALSE(cache.has_room_for(-1));
  EXPECT_FALSE(cache.holds(2));

  std::vector<std::byte> image(3 * 64), labels(64), image_back(3 * 64), labels_back(64);
  for (size_t i = 0; i < image.size(); ++i) image[i] = static_cast<std::byte>(i);
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::byte>(7 * i);
  cache.store(stream, 2, image.data(), labels.data());
  EXPECT_TRUE(cache.holds(2));
  EXPECT_FALSE(cache.holds(1));
  cache.copy_to(stream, 2, image_back.data(), labels_back.data());
  stream.synchronize();
  EXPECT_EQ(image_back, image);
  EXPECT_EQ(labels_back, labels);
  EXPECT_THROW(cache.store(stream, 3, image.data(), labels.data()), std::logic_error);
  EXPECT_THROW(cache.copy_to(stream, 1, image_back.data(), labels_back.data()), std::logic_error);
  EXPECT_EQ(DeviceCache(Device{}, 100 * kSampleBytes, kSamples, 8, 8).capacity(), kSamples);
}

/// Losses of two epochs. With a cache, what it holds is spoiled in the batch before the step.
std::vector<float> losses(DeviceCache* cache) {
  DeviceContext context;
  const Graph graph = small_unet(kInput, kClasses, 0.1f);
  Parameters parameters(graph.parameters(), context.stream, true);
  parameters.initialize(5);
  TrainingStepOptions options;
  options.cache = cache;
  TrainingStep step(graph, parameters, context, options);
  MemorySource source(kSamples, kInput, kClasses, 2);
  std::vector<float> all;
  uint64_t number = 0;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    source.start(epoch, 0);
    for (int64_t i = 0; i < source.batches(); ++i) {
      Batch batch = source.next();
      std::vector<uint8_t> cached(to_size(kInput.n));
      for (int n = 0; cache != nullptr && n < kInput.n; ++n) {
        const auto position = to_size(n);
        if (!cache->holds(batch.samples[position])) continue;
        cached[position] = 1;
        std::fill_n(batch.images.as<uint8_t>() + position * 192, 192, uint8_t{99});
        std::fill_n(batch.labels.as<uint8_t>() + position * 64, 64, uint8_t{255});
      }
      batch.cached = cached.data();
      step.run(batch, number++, 0.01f);
      all.push_back(step.finish()->loss.total);
    }
  }
  return all;
}

TEST(DeviceCache, TrainingIsTheSameWithSomeAllOrNoSamplesInIt) {
  const std::vector<float> expected = losses(nullptr);
  for (const int fit : {0, 1, 4, kSamples}) {
    DeviceCache cache(Device{}, to_size(fit) * kSampleBytes, kSamples, 8, 8);
    EXPECT_EQ(losses(&cache), expected) << fit;
    for (int i = 0; i < kSamples; ++i) EXPECT_EQ(cache.holds(i), i < fit);
  }
}

}  // namespace
