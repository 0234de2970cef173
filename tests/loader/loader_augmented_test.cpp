// Batches with programs and windows, shares of ranks, and files that change under the loader.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <set>

#include "base/to_size.h"
#include "loader/augment/augmentation.h"
#include "loader/loader.h"
#include "loader/pack.h"
#include "loader/pack_writer.h"
#include "tests/image/support.h"
#include "tests/loader/batch_copy.h"

namespace macadam {
namespace {

using namespace macadam::testing;
namespace fs = std::filesystem;

constexpr int kHeight = 24, kWidth = 36, kSamples = 13;

AugmentEntry with_p(Transform transform, double p) { return {std::move(transform), p}; }

/// Everything that has a random draw of another kind.
AugmentList full_list(bool windows) {
  AugmentList list;
  if (windows) {
    RandomScale scale;
    scale.scale_limit = {-0.5, 1};
    list.push_back(with_p(scale, 0.8));
    RandomCrop crop;
    crop.height = 10;
    crop.width = 14;
    crop.class_uniform = 0.5;
    crop.cat_max_ratio = 0.75;
    list.push_back(with_p(crop, 1));
  }
  list.push_back(with_p(HorizontalFlip{}, 0.5));
  list.push_back(with_p(ShiftScaleRotate{}, 0.7));
  list.push_back(with_p(ElasticTransform{}, 0.3));
  list.push_back(with_p(GaussNoise{}, 0.5));
  list.push_back(with_p(Blur{}, 0.5));
  list.push_back(with_p(RandomGamma{}, 0.5));
  return list;
}

class AugmentedLoader : public ::testing::Test {
 protected:
  AugmentedLoader() { put_camvid(folder_.path(), "train", kSamples, kHeight, kWidth); }

  static LoaderOptions options(const AugmentList& list) {
    LoaderOptions options = small_options();
    options.shuffle = true;
    options.augmentation = std::make_shared<const Augmentation>(list, ImageSize{10, 14});
    return options;
  }
  Loader make(const LoaderOptions& options) const {
    return Loader(open_dataset(folder_.path(), "train"), make_label_set("camvid11"), options);
  }
  fs::path photo(size_t i) const {
    return open_dataset(folder_.path(), "train").samples.at(i).image;
  }

  TemporaryFolder folder_;
};

TEST_F(AugmentedLoader, TheSameBytesForAnyThreadsAndCacheAndAfterAnyStart) {
  for (const bool windows : {false, true}) {
    LoaderOptions reference = options(full_list(windows));
    reference.threads = 1;
    Loader one = make(reference);
    std::vector<std::vector<BatchCopy>> expected;
    for (int64_t epoch = 0; epoch < 3; ++epoch) expected.push_back(read_epoch(one, epoch));
    EXPECT_NE(expected[0], expected[1]);
    for (const int threads : {2, 16}) {
      for (const size_t cache : {size_t{0}, size_t{4 * kHeight * kWidth * 5}, size_t{1} << 20}) {
        LoaderOptions other = reference;
        other.threads = threads;
        other.cache_bytes = cache;
        Loader loader = make(other);
        for (size_t epoch = 0; epoch < expected.size(); ++epoch) {
          EXPECT_EQ(read_epoch(loader, static_cast<int64_t>(epoch)), expected[epoch]);
          if (epoch > 0 && cache > 0) {
            EXPECT_GT(loader.cache_hits(), 0);
          }
        }
        const auto rest = read_epoch(loader, 2, 2);
        EXPECT_TRUE(std::equal(rest.begin(), rest.end(), expected[2].begin() + 2));
      }
    }
  }
}

TEST_F(AugmentedLoader, PaddedSamplesGetProgramsThatChangeNothing) {
  Loader loader = make(options(full_list(false)));
  const BatchCopy last = read_epoch(loader, 0).back();
  ASSERT_EQ(last.n, 1);
  ASSERT_FALSE(last.programs.empty());
  std::vector<std::byte> plain(last.programs.size() / 4);
  AugmentBuilder(10, 14).write(plain);
  for (size_t i = 1; i < 4; ++i) {
    const auto begin = last.programs.begin() + static_cast<ptrdiff_t>(i * plain.size());
    EXPECT_TRUE(std::equal(plain.begin(), plain.begin() + sizeof(AugmentHeader), begin));
  }
}

TEST_F(AugmentedLoader, AFlipAloneIsAProgramToo) {
  Loader loader = make(options(default_augmentation()));
  int flips = 0;
  for (const BatchCopy& batch : read_epoch(loader, 0)) {
    const size_t bytes = batch.programs.size() / batch.samples.size();
    for (size_t i = 0; i < batch.samples.size(); ++i) {
      AugmentHeader header;
      std::memcpy(&header, batch.programs.data() + i * bytes, sizeof header);
      flips += header.mirror;
      EXPECT_EQ(header.maps, 0);
    }
  }
  EXPECT_GT(flips, 0);
  EXPECT_LT(flips, kSamples);
}

TEST_F(AugmentedLoader, RanksShareEveryBatchOfTrainingAndSeeTheSameSamples) {
  LoaderOptions whole = options(full_list(true));
  whole.batch = 6;
  whole.drop_last = true;
  Loader all = make(whole);
  ASSERT_EQ(all.batches(), 2);
  for (const int ranks : {2, 3}) {
    std::vector<std::vector<BatchCopy>> shares;
    for (int rank = 0; rank < ranks; ++rank) {
      LoaderOptions share = whole;
      share.batch = 6 / ranks;
      share.rank = rank;
      share.ranks = ranks;
      Loader loader = make(share);
      ASSERT_EQ(loader.batches(), 2);
      shares.push_back(read_epoch(loader, 1));
    }
    const std::vector<BatchCopy> expected = read_epoch(all, 1);
    for (size_t step = 0; step < 2; ++step) {
      for (size_t i = 0; i < 6; ++i) {
        const BatchCopy& share = shares[i % to_size(ranks)][step];
        EXPECT_EQ(share.sample(i / to_size(ranks)), expected[step].sample(i));
      }
    }
  }
}

TEST_F(AugmentedLoader, RanksOfEvaluationSeeEverySampleOnceAndNoneTwice) {
  for (const int ranks : {2, 4, 5}) {
    std::multiset<int> seen;
    for (int rank = 0; rank < ranks; ++rank) {
      LoaderOptions share = options({});
      share.shuffle = false;
      share.rank = rank;
      share.ranks = ranks;
      Loader loader = make(share);
      for (const BatchCopy& batch : read_epoch(loader, 0)) {
        seen.insert(batch.samples.begin(), batch.samples.begin() + batch.n);
      }
    }
    EXPECT_EQ(seen.size(), to_size(kSamples));
    EXPECT_EQ(std::set<int>(seen.begin(), seen.end()).size(), to_size(kSamples));
  }
  LoaderOptions lonely = options({});
  lonely.shuffle = false;
  lonely.ranks = kSamples + 1;
  lonely.rank = kSamples;
  expect_input_error([&] { make(lonely); }, {"13 samples for 14 ranks"});
  LoaderOptions many = options({});
  many.batch = 4;
  many.ranks = 4;
  many.drop_last = true;
  expect_input_error([&] { make(many); }, {"13 samples", "batch of 16"});
}

TEST_F(AugmentedLoader, WhatTheDeviceHoldsIsNotLoaded) {
  DeviceCache cache(Device{}, 5 * 10 * 14 * 4, kSamples, 10, 14);
  Stream stream{Device{}};
  const std::vector<std::byte> bytes(3 * 10 * 14);
  for (int i = 0; i < cache.capacity(); ++i) cache.store(stream, i, bytes.data(), bytes.data());
  LoaderOptions with = options(full_list(false));
  with.device_cache = &cache;
  const Dataset dataset = open_dataset(folder_.path(), "train");
  for (size_t i = 0; i < 5; ++i) fs::remove(dataset.samples[i].image);
  Loader loader(dataset, make_label_set("camvid11"), with);
  int cached = 0;
  for (const BatchCopy& batch : read_epoch(loader, 0)) {
    for (size_t i = 0; i < batch.samples.size(); ++i) {
      EXPECT_EQ(batch.cached[i] != 0, batch.samples[i] >= 0 && batch.samples[i] < 5);
      cached += batch.cached[i];
    }
  }
  EXPECT_EQ(cached, 5);
  with.augmentation = std::make_shared<const Augmentation>(full_list(true), ImageSize{10, 14});
  EXPECT_THROW(Loader(dataset, make_label_set("camvid11"), with), std::logic_error);
}

TEST_F(AugmentedLoader, AFileThatVanishesOrIsCutWhileTrainingIsNamed) {
  Loader loader = make(options(full_list(true)));
  EXPECT_EQ(read_epoch(loader, 0).size(), 4u);
  const auto whole = get_bytes(photo(7));
  put_bytes(photo(7), std::span(whole).first(whole.size() / 2));
  expect_input_error([&] { read_epoch(loader, 1); }, {photo(7).string()});
  fs::path gone = photo(7);
  fs::remove(gone);
  expect_input_error([&] { read_epoch(loader, 1); }, {gone.string(), "No such file"});
  put_bytes(gone, whole);
  EXPECT_EQ(read_epoch(loader, 1).size(), 4u);
}

TEST_F(AugmentedLoader, APackThatChangesWhileTrainingIsNamed) {
  const fs::path file = folder_ / "streets.pack";
  write_pack(folder_.path(), make_label_set("camvid11"), file, {});
  LoaderOptions from_pack = options(full_list(true));
  Loader loader(open_dataset(file, "train"), make_label_set("camvid11"), from_pack);
  EXPECT_EQ(read_epoch(loader, 0).size(), 4u);
  // Replaced by renaming, as macadam pack does: the loader keeps the old one.
  write_pack(folder_.path(), make_label_set("camvid11"), file, {});
  EXPECT_EQ(read_epoch(loader, 1).size(), 4u);
  Loader fresh(open_dataset(file, "train"), make_label_set("camvid11"), from_pack);
  fs::resize_file(file, 4096);
  expect_input_error([&] { read_epoch(fresh, 0); }, {file.string(), "changed while"});
}

}  // namespace
}  // namespace macadam
