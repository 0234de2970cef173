#include "loader/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <set>
#include <thread>

#include "base/to_size.h"
#include "image/resize.h"
#include "loader/sampling.h"
#include "tests/image/support.h"
#include "tests/loader/batch_copy.h"

namespace macadam {
namespace {

using namespace macadam::testing;
namespace fs = std::filesystem;

constexpr int kHeight = 12, kWidth = 18;

using Copy = BatchCopy;

class LoaderTest : public ::testing::Test {
 protected:
  static constexpr int kSamples = 11;

  LoaderTest() { put_camvid(folder_.path(), "train", kSamples, kHeight, kWidth); }

  Loader make(const LoaderOptions& options) {
    return Loader(open_dataset(folder_.path(), "train"), make_label_set("camvid11"), options);
  }
  fs::path photo(size_t i) const {
    return open_dataset(folder_.path(), "train").samples.at(i).image;
  }
  fs::path mask(size_t i) const { return open_dataset(folder_.path(), "train").samples.at(i).mask; }

  TemporaryFolder folder_;
};

TEST_F(LoaderTest, EvaluationReadsEverySampleInOrderAndPadsTheLastBatch) {
  Loader loader = make(small_options());
  EXPECT_EQ(loader.batches(), 3);
  const auto batches = read_epoch(loader, 0);
  ASSERT_EQ(batches.size(), 3u);
  const LabelSet labels = make_label_set("camvid11");
  const Dataset dataset = open_dataset(folder_.path(), "train");
  int next = 0;
  for (size_t b = 0; b < batches.size(); ++b) {
    EXPECT_EQ(batches[b].index, static_cast<int64_t>(b));
    EXPECT_EQ(batches[b].n, b < 2 ? 4 : 3);
    for (int i = 0; i < batches[b].n; ++i, ++next) {
      EXPECT_EQ(batches[b].samples[i], next);
      const Image image = resize_bilinear(read_rgb(dataset.samples[next].image), 10, 14);
      EXPECT_TRUE(std::equal(image.pixels.begin(), image.pixels.end(),
                             batches[b].images.begin() + i * 10 * 14 * 3));
      Image mask = resize_nearest(read_labels(dataset.samples[next].mask), 10, 14);
      for (uint8_t& id : mask.pixels) id = labels.label_of_id[id];
      EXPECT_TRUE(std::equal(mask.pixels.begin(), mask.pixels.end(),
                             batches[b].labels.begin() + i * 10 * 14));
    }
  }
  EXPECT_EQ(next, kSamples);
  const Copy& last = batches.back();
  EXPECT_EQ(last.samples[3], -1);
  EXPECT_TRUE(last.programs.empty()) << "there is nothing to augment";
  EXPECT_TRUE(std::all_of(last.images.begin() + 3 * 420, last.images.end(),
                          [](uint8_t value) { return value == 0; }));
  EXPECT_TRUE(std::all_of(last.labels.begin() + 3 * 140, last.labels.end(),
                          [](uint8_t value) { return value == kIgnore; }));
  EXPECT_THROW(loader.next(), std::logic_error);
}

TEST_F(LoaderTest, TheSameBytesForAnyThreadsSlotsAndCache) {
  LoaderOptions options = small_options();
  options.shuffle = true;
  options.augmentation =
      std::make_shared<const Augmentation>(default_augmentation(), ImageSize{10, 14});
  options.threads = 1;
  Loader reference = make(options);
  std::vector<std::vector<Copy>> expected;
  for (int64_t epoch = 0; epoch < 3; ++epoch) expected.push_back(read_epoch(reference, epoch));
  EXPECT_NE(expected[0], expected[1]);

  for (const int threads : {1, 2, 16}) {
    for (const int slots : {1, 2, 5}) {
      // Nothing cached, five of the samples, all of them.
      for (const size_t cached : {0, 5, 100}) {
        options.threads = threads;
        options.slots = slots;
        options.cache_bytes = cached * 10 * 14 * 4;
        Loader loader = make(options);
        for (size_t epoch = 0; epoch < expected.size(); ++epoch) {
          EXPECT_EQ(read_epoch(loader, static_cast<int64_t>(epoch)), expected[epoch]);
          const auto hits = static_cast<int64_t>(std::min<size_t>(cached, kSamples));
          EXPECT_EQ(loader.cache_hits(), epoch == 0 ? 0 : hits);
          EXPECT_EQ(loader.stats().samples, kSamples);
        }
      }
    }
  }
}

TEST_F(LoaderTest, StartsAtAnyBatchOfAnyEpoch) {
  LoaderOptions options = small_options();
  options.shuffle = true;
  options.augmentation =
      std::make_shared<const Augmentation>(default_augmentation(), ImageSize{10, 14});
  Loader loader = make(options);
  const auto whole = read_epoch(loader, 5);
  for (int64_t first = 0; first <= loader.batches(); ++first) {
    Loader resumed = make(options);
    const auto rest = read_epoch(resumed, 5, first);
    ASSERT_EQ(rest.size(), whole.size() - to_size(first));
    EXPECT_TRUE(std::equal(rest.begin(), rest.end(), whole.begin() + first));
  }
}

TEST_F(LoaderTest, DropLastLeavesOutThePartialBatch) {
  LoaderOptions options = small_options();
  options.drop_last = true;
  options.shuffle = true;
  Loader loader = make(options);
  EXPECT_EQ(loader.batches(), 2);
  std::set<int> seen;
  for (const Copy& batch : read_epoch(loader, 0)) {
    EXPECT_EQ(batch.n, 4);
    seen.insert(batch.samples.begin(), batch.samples.end());
  }
  EXPECT_EQ(seen.size(), 8u);

  options.batch = 12;
  expect_input_error([&] { make(options); }, {"11 samples", "batch of 12", "train"});
}

TEST_F(LoaderTest, ARestartAbandonsTheEpoch) {
  for (const int slots : {1, 3}) {
    LoaderOptions options = small_options();
    options.slots = slots;
    Loader loader = make(options);
    for (int64_t epoch = 0; epoch < 6; ++epoch) {
      loader.start(epoch);
      for (int64_t i = 0; i < epoch % 3; ++i) {
        const Batch& batch = loader.next();
        EXPECT_EQ(batch.epoch, epoch);
        EXPECT_EQ(batch.index, i);
      }
    }
    EXPECT_EQ(read_epoch(loader, 6).size(), 3u);
  }
}

TEST_F(LoaderTest, ShutsDownInMidEpoch) {
  LoaderOptions options = small_options();
  options.slots = 2;
  for (int repeat = 0; repeat < 20; ++repeat) {
    Loader loader = make(options);
    if (repeat % 4 == 0) continue;
    loader.start(0);
    for (int i = 1; i < repeat % 4; ++i) EXPECT_EQ(loader.next().n, 4);
  }
}

TEST_F(LoaderTest, ABatchStaysWhileTheNextOneIsMade) {
  LoaderOptions options = small_options();
  options.slots = 2;
  options.batch = 2;
  Loader loader = make(options);
  const std::vector<Copy> expected = read_epoch(loader, 0);
  loader.start(0);
  const Batch& first = loader.next();
  // With one slot in use, one batch more can be made, and no other.
  for (int i = 0; i < 200 && loader.stats().samples < 4; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(loader.stats().samples, 4);
  EXPECT_EQ(Copy(first), expected[0]);
  EXPECT_EQ(Copy(loader.next()), expected[1]);
}

TEST_F(LoaderTest, NamesItsSamples) {
  const Loader loader = make(small_options());
  EXPECT_EQ(loader.sample_name(9), photo(9).string());
  EXPECT_EQ(loader.sample_name(-1), "padding");
}

TEST_F(LoaderTest, CountsWaiting) {
  Loader loader = make(small_options());
  read_epoch(loader, 0);
  EXPECT_GT(loader.stats().load_seconds, 0);
  EXPECT_GT(loader.stats().wait_seconds, 0);
  loader.start(1);
  EXPECT_LT(loader.stats().wait_seconds, 1);
}

TEST_F(LoaderTest, BeforeTheFirstStartThereIsNoBatch) {
  Loader loader = make(small_options());
  EXPECT_THROW(loader.next(), std::logic_error);
}

/// Reads until the error; returns the number of batches before it.
int batches_before_error(Loader& loader, const std::vector<std::string>& parts) {
  int count = 0;
  loader.start(0);
  expect_input_error(
      [&] {
        for (; count < loader.batches(); ++count) loader.next();
      },
      parts);
  expect_input_error([&] { loader.next(); }, parts);  // and it stays that way
  return count;
}

TEST_F(LoaderTest, AnUnreadablePhotoIsReportedInItsTurn) {
  put_text(photo(9), "");
  for (const int threads : {1, 2, 16}) {
    LoaderOptions options = small_options();
    options.threads = threads;
    options.slots = 5;
    Loader loader = make(options);
    EXPECT_EQ(batches_before_error(loader, {photo(9).string(), "0 bytes"}), 2);
  }
}

TEST_F(LoaderTest, TheFirstOfManyErrorsIsReported) {
  const Dataset dataset = open_dataset(folder_.path(), "train");
  for (const size_t i : {5, 6, 7, 10}) fs::remove(dataset.samples[i].image);
  for (const int threads : {1, 16}) {
    LoaderOptions options = small_options();
    options.threads = threads;
    Loader loader(dataset, make_label_set("camvid11"), options);
    EXPECT_EQ(batches_before_error(loader, {"train_00005.png", "No such file"}), 1);
  }
}

TEST_F(LoaderTest, RecoversAfterAnErrorIsCorrected) {
  const auto good = get_bytes(photo(0));
  put_text(photo(0), "");
  Loader loader = make(small_options());
  EXPECT_EQ(batches_before_error(loader, {"0 bytes"}), 0);
  put_bytes(photo(0), good);
  EXPECT_EQ(read_epoch(loader, 0).size(), 3u);
}

TEST_F(LoaderTest, AnUnknownIdNamesFileValueAndPixel) {
  Image bad = noise_mask(kHeight, kWidth, 11, 3);
  *bad.at(4, 9) = 77;
  put_png(mask(2), bad);
  LoaderOptions options = small_options();
  options.height = kHeight;
  options.width = kWidth;
  Loader loader = make(options);
  EXPECT_EQ(batches_before_error(loader, {mask(2).string(), "id 77", "x=9", "y=4", "camvid11"}), 0);
}

TEST_F(LoaderTest, AMaskOfAnotherSizeIsRefused) {
  put_png(mask(6), noise_mask(kHeight, kWidth + 1, 11, 3));
  Loader loader = make(small_options());
  EXPECT_EQ(
      batches_before_error(loader, {mask(6).string(), photo(6).string(), "19 x 12", "18 x 12"}), 1);
}

TEST_F(LoaderTest, AMaskOfATurnedPhotoMustBeTurned) {
  // A photo of 18 x 12 pixels whose EXIF orientation is 6: upright it has 12 x 18.
  auto jpeg = make_jpeg(noise(kHeight, kWidth, 3, 1), 90);
  const std::vector<uint8_t> exif{0xFF, 0xE1, 0, 34, 'E', 'x', 'i', 'f', 0,    0, 'I', 'I',
                                  42,   0,    8, 0,  0,   0,   1,   0,   0x12, 1, 3,   0,
                                  1,    0,    0, 0,  6,   0,   0,   0,   0,    0, 0,   0};
  jpeg.insert(jpeg.begin() + 2, exif.begin(), exif.end());
  put_bytes(photo(0), jpeg);  // formats are told by their content
  Loader loader = make(small_options());
  EXPECT_EQ(
      batches_before_error(loader, {mask(0).string(), "18 x 12 pixels, its photo 12 x 18", "EXIF"}),
      0);
  put_png(mask(0), noise_mask(kWidth, kHeight, 11, 3));
  EXPECT_EQ(read_epoch(loader, 0).size(), 3u);
}

TEST_F(LoaderTest, JpegsAreReducedUnlessToldNotTo) {
  put_bytes(photo(0), make_jpeg(noise(40, 56, 3, 1), 90));
  put_png(mask(0), noise_mask(40, 56, 11, 3));
  LoaderOptions options = small_options();
  options.batch = 1;
  const auto first_image = [&] {
    Loader loader = make(options);
    loader.start(0);
    return Copy(loader.next()).images;
  };
  // A quarter is exactly what the network sees, and nothing is left to resize.
  EXPECT_EQ(first_image(), read_rgb(photo(0), {}, {10, 14}).pixels);
  options.reduced_decoding = false;
  EXPECT_EQ(first_image(), resize_bilinear(read_rgb(photo(0)), 10, 14).pixels);
}

TEST_F(LoaderTest, APaletteMaskIsRefused) {
  put_bytes(mask(0), make_png(2, 1, 8, 3, {{0, 1}}, {1, 2, 3, 4, 5, 6}));
  Loader loader = make(small_options());
  EXPECT_EQ(batches_before_error(loader, {mask(0).string(), "palette"}), 0);
}

TEST_F(LoaderTest, ASplitWithoutSamplesIsRefused) {
  Dataset empty = open_dataset(folder_.path(), "train");
  empty.samples.clear();
  expect_input_error([&] { Loader(empty, make_label_set("camvid11"), small_options()); },
                     {"no samples", "train"});
}

TEST(Sampling, PermutationsAreCompleteAndDiffer) {
  for (const int count : {0, 1, 2, 7, 1000}) {
    auto order = permutation(1, 0, count);
    std::sort(order.begin(), order.end());
    for (int i = 0; i < count; ++i) EXPECT_EQ(order[to_size(i)], i);
  }
  EXPECT_EQ(permutation(1, 0, 100), permutation(1, 0, 100));
  EXPECT_NE(permutation(1, 0, 100), permutation(1, 1, 100));
  EXPECT_NE(permutation(1, 0, 100), permutation(2, 0, 100));
}

TEST(Sampling, EveryOrderIsEquallyLikely) {
  std::map<std::vector<int>, int> counts;
  constexpr int kDraws = 24'000;
  for (int64_t epoch = 0; epoch < kDraws; ++epoch) ++counts[permutation(7, epoch, 4)];
  EXPECT_EQ(counts.size(), 24u);
  double chi_square = 0;
  for (const auto& [order, count] : counts)
    chi_square += (count - 1000.0) * (count - 1000.0) / 1000;
  EXPECT_LT(chi_square, 49.7);  // 23 degrees of freedom, p = 0.001
}

}  // namespace
}  // namespace macadam
