// The whole way of a sample: loader, programs, upload, training step, with and without caches.

#include <gtest/gtest.h>

#include "base/to_size.h"
#include "engine/train/training_step.h"
#include "loader/loader.h"
#include "tests/engine/small_networks.h"
#include "tests/image/support.h"
#include "tests/loader/augment_support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

constexpr int kHeight = 16, kWidth = 24, kBatch = 2, kSamples = 7, kClasses = 11;

class TrainingFeed : public ::testing::Test {
 protected:
  TrainingFeed() { put_camvid(folder_.path(), "train", kSamples, kHeight, kWidth); }

  /// The losses of the epochs 0 and 1 from `first` on. With `fit`, so many samples may stay on the
  /// device.
  std::vector<float> losses(int fit, int64_t first = 0, size_t host_bytes = 0) {
    DeviceContext context;
    const Graph graph = macadam::testing::small_unet({kBatch, kHeight, kWidth, 3}, kClasses, 0.1f);
    Parameters parameters(graph.parameters(), context.stream, true);
    parameters.initialize(5);
    DeviceCache cache(Device{}, to_size(fit) * 4 * kHeight * kWidth, kSamples, kHeight, kWidth);
    LoaderOptions options;
    options.height = kHeight;
    options.width = kWidth;
    options.batch = kBatch;
    options.threads = 2;
    options.shuffle = options.drop_last = true;
    options.cache_bytes = host_bytes;
    options.augmentation = std::make_shared<const Augmentation>(
        parse({entry("HorizontalFlip"), entry("ShiftScaleRotate"), entry("GaussNoise"),
               entry("CLAHE", {{"tile_grid_size", list({value(2), value(2)})}}), entry("Blur")},
              {kHeight, kWidth}),
        ImageSize{kHeight, kWidth});
    options.device_cache = fit > 0 ? &cache : nullptr;
    Loader loader(open_dataset(folder_.path(), "train"), make_label_set("camvid11"), options);
    TrainingStepOptions step_options;
    step_options.cache = fit > 0 ? &cache : nullptr;
    TrainingStep step(graph, parameters, context, step_options);
    std::vector<float> all;
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      loader.start(epoch, epoch == 0 ? first : 0);
      for (int64_t i = epoch == 0 ? first : 0; i < loader.batches(); ++i) {
        step.run(loader.next(), all.size(), 0.01f);
        all.push_back(step.finish()->loss.total);
      }
    }
    return all;
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(TrainingFeed, CachesChangeNoLoss) {
  const std::vector<float> expected = losses(0);
  ASSERT_EQ(expected.size(), 6u);
  EXPECT_NE(expected[0], expected[3]);
  for (const int fit : {1, 4, kSamples}) EXPECT_EQ(losses(fit), expected) << fit;
  EXPECT_EQ(losses(3, 0, size_t{1} << 20), expected);
  EXPECT_EQ(losses(kSamples, 2), losses(0, 2));
}

}  // namespace
}  // namespace macadam
