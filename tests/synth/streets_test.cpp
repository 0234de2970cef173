#include "synth/streets.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <array>
#include <map>
#include <set>

#include "base/to_size.h"
#include "loader/dataset.h"
#include "synth/synth.h"
#include "tests/image/support.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;

/// FNV-1a.
uint64_t hash_of(const std::vector<uint8_t>& bytes, uint64_t hash = 0xCBF29CE484222325ull) {
  for (uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001B3ull;
  return hash;
}

/// Category of every Cityscapes id that streets use, by id; -1 where they never use it.
constexpr std::array<int, 34> kCategory = {0, 0, -1, -1, 0,  -1, -1, 1,  1, 1, -1, 2,
                                           2, 2, -1, -1, -1, 3,  -1, 3,  3, 4, 4,  5,
                                           6, 6, 7,  7,  7,  -1, -1, -1, 7, 7};

TEST(Streets, HaveTheSameBitsOnEveryMachine) {
  const SynthScene scene = render_street(96, 160, 7, 3);
  EXPECT_EQ(hash_of(scene.labels, hash_of(scene.rgb)), 12142319596780513236ull);
}

TEST(Streets, AreAPureFunctionOfTheirNumbers) {
  constexpr int count = 6;
  std::array<uint64_t, count> one{}, many{};
  for (int i = 0; i < count; ++i) {
    one[to_size(i)] = hash_of(render_street(64, 128, 1, static_cast<uint64_t>(i)).rgb);
  }
#pragma omp parallel for num_threads(4) schedule(dynamic)
  for (int i = count - 1; i >= 0; --i) {
    many[to_size(i)] = hash_of(render_street(64, 128, 1, static_cast<uint64_t>(i)).rgb);
  }
  EXPECT_EQ(one, many);
  EXPECT_EQ(std::set<uint64_t>(one.begin(), one.end()).size(), size_t{count});
  EXPECT_NE(hash_of(render_street(64, 128, 2, 0).rgb), one[0]);
}

TEST(Streets, ShowEveryCategory) {
  constexpr int count = 40;
  std::array<int, 8> images_with{};
  std::array<double, 8> share{};
  double brightness = 0;
  for (int i = 0; i < count; ++i) {
    const SynthScene scene = render_street(128, 256, 11, static_cast<uint64_t>(i));
    ASSERT_EQ(scene.labels.size(), 128u * 256u);
    ASSERT_EQ(scene.rgb.size(), 3u * 128u * 256u);
    std::array<int, 8> pixels{};
    for (uint8_t label : scene.labels) {
      ASSERT_LT(label, kCategory.size());
      ASSERT_GE(kCategory[label], 0) << "id " << int{label};
      ++pixels[to_size(kCategory[label])];
    }
    for (size_t c = 0; c < 8; ++c) {
      images_with[c] += pixels[c] > 10;
      share[c] += pixels[c] / (128.0 * 256.0 * count);
    }
    double sum = 0;
    for (uint8_t value : scene.rgb) sum += value;
    const double mean = sum / static_cast<double>(scene.rgb.size());
    EXPECT_GT(mean, 25) << "street " << i << " is black";
    EXPECT_LT(mean, 235) << "street " << i << " is white";
    brightness += mean / count;
  }
  // Void is the bonnet, bins and columns; people may be hidden by a bus.
  const std::array<int, 8> at_least = {24, 40, 40, 38, 34, 34, 30, 36};
  for (size_t c = 0; c < 8; ++c) EXPECT_GE(images_with[c], at_least[c]) << "category " << c;
  EXPECT_NEAR(share[1], 0.35, 0.12) << "flat";
  EXPECT_NEAR(share[2], 0.28, 0.12) << "construction";
  EXPECT_NEAR(share[4], 0.14, 0.1) << "nature";
  EXPECT_GT(share[3], 0.005) << "object";
  EXPECT_GT(share[6], 0.004) << "human";
  EXPECT_NEAR(share[7], 0.12, 0.08) << "vehicle";
  EXPECT_NEAR(brightness, 115, 35);
}

TEST(Streets, AcceptOtherShapes) {
  for (auto [height, width] : {std::pair{16, 16}, {33, 71}, {200, 64}}) {
    const SynthScene scene = render_street(height, width, 5, 0);
    EXPECT_EQ(scene.labels.size(), to_size(height * width));
  }
  EXPECT_THROW(render_street(8, 64, 1, 1), std::logic_error);
}

StreetsOptions small_options() {
  StreetsOptions options;
  options.train_images = 3;
  options.val_images = 2;
  options.height = 32;
  options.width = 64;
  return options;
}

std::map<std::string, uint64_t> hashes(const fs::path& folder) {
  std::map<std::string, uint64_t> result;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    result[fs::relative(entry.path(), folder).string()] =
        hash_of(macadam::testing::get_bytes(entry.path()));
  }
  return result;
}

TEST(WriteStreets, WritesTheCityscapesLayout) {
  const macadam::testing::TemporaryFolder folder;
  int calls = 0, last = 0;
  write_streets(folder / "s", small_options(), [&](int done, int total) {
    EXPECT_EQ(total, 5);
    EXPECT_EQ(done, ++calls);
    last = done;
  });
  EXPECT_EQ(last, 5);
  EXPECT_EQ(recognize_layout(folder / "s"), Layout::cityscapes);
  EXPECT_EQ(list_splits(folder / "s"), (std::vector<std::string>{"train", "val"}));
  const std::string name = "val/maybole/maybole_000001_000000";
  const Image photo = read_rgb(folder / ("s/leftImg8bit/" + name + "_leftImg8bit.png"));
  const Image mask = read_labels(folder / ("s/gtFine/" + name + "_gtFine_labelIds.png"));
  EXPECT_EQ(photo.height, 32);
  EXPECT_EQ(photo.width, 64);
  EXPECT_EQ(mask.height, 32);
  EXPECT_EQ(mask.width, 64);
  EXPECT_EQ(hashes(folder / "s").size(), 11u);
}

TEST(WriteStreets, AnImageDoesNotDependOnTheCountOrTheThreads) {
  const macadam::testing::TemporaryFolder folder;
  write_streets(folder / "a", small_options());
  StreetsOptions more = small_options();
  more.train_images = 5;
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  write_streets(folder / "b", more);
  omp_set_num_threads(threads);
  auto a = hashes(folder / "a"), b = hashes(folder / "b");
  a.erase("streets.toml");
  EXPECT_EQ(a.size(), 10u);
  for (const auto& [name, hash] : a) EXPECT_EQ(b[name], hash) << name;
}

TEST(WriteStreets, ReplacesItsOwnFolderAndNoOther) {
  const macadam::testing::TemporaryFolder folder;
  write_streets(folder / "s", small_options());
  StreetsOptions fewer = small_options();
  fewer.train_images = 1;
  fewer.val_images = 0;
  write_streets(folder / "s", fewer);
  EXPECT_EQ(hashes(folder / "s").size(), 3u);
  macadam::testing::put_text(folder / "mine" / "thesis.txt", "x");
  macadam::testing::expect_input_error([&] { write_streets(folder / "mine", small_options()); },
                                       {"mine", "not empty", "new folder"});
  macadam::testing::expect_input_error(
      [&] { write_streets(folder / "mine/thesis.txt", small_options()); },
      {"thesis.txt", "not a folder"});
  EXPECT_EQ(hashes(folder / "mine").size(), 1u);
}

TEST(WriteStreets, OnlyAWholeSetSaysThatItIsOne) {
  const macadam::testing::TemporaryFolder folder;
  // There is no place for the last images any more.
  const auto hinder = [&](int, int) { fs::remove_all(folder / "s/leftImg8bit/val"); };
  const int threads = omp_get_max_threads();
  for (int round = 0; round < 2; ++round) {
    omp_set_num_threads(1);
    EXPECT_THROW(write_streets(folder / "s", small_options(), hinder), RunError);
    omp_set_num_threads(threads);
    EXPECT_FALSE(fs::exists(folder / "s/streets.toml"));
    write_streets(folder / "s", small_options());  // and replaces what was left half written
    EXPECT_TRUE(fs::exists(folder / "s/streets.toml"));
    EXPECT_EQ(hashes(folder / "s").size(), 11u);
  }
}

TEST(WriteStreets, NamesAWrongOption) {
  const macadam::testing::TemporaryFolder folder;
  StreetsOptions options = small_options();
  options.height = 5000;
  macadam::testing::expect_input_error([&] { write_streets(folder / "s", options); },
                                       {"height", "5000", "4096"});
  options = small_options();
  options.train_images = options.val_images = 0;
  macadam::testing::expect_input_error([&] { write_streets(folder / "s", options); },
                                       {"images", "0"});
  EXPECT_FALSE(fs::exists(folder / "s"));
}

}  // namespace
}  // namespace macadam
