// The pictures of an epoch: a folder a sample.

#include "run/epoch_samples.h"

#include <gtest/gtest.h>

#include <set>

#include "base/files.h"
#include "tests/base/temporary_folder.h"

namespace macadam {
namespace {

using testing::TemporaryFolder;

// Names of samples may hold folders, and those of folders may not.
TEST(EpochSamples, SamplesWhoseNamesFallTogetherHaveFoldersOfTheirOwn) {
  const TemporaryFolder folder;
  Dataset dataset;
  for (const char* id : {"sample_2", "a/b", "a_b", "c"}) dataset.samples.emplace_back().id = id;
  LabelSet labels;
  labels.class_names = {"road"};
  labels.palette = {{1, 2, 3}};
  Evaluation evaluation{ConfusionMatrix(1), 0, {}, {}, {}, {}};
  for (int sample = 0; sample < 4; ++sample) {
    const auto shade = static_cast<uint8_t>(sample);
    evaluation.samples.push_back({.sample = sample,
                                  .height = 1,
                                  .width = 1,
                                  .rgb = {shade, shade, shade},
                                  .labels = {0},
                                  .classes = {0}});
  }
  for (int64_t epoch = 1; epoch <= 2; ++epoch) {
    write_epoch_samples(folder.path(), dataset, labels, epoch, evaluation);
  }
  std::set<std::string> names, photos;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "samples" / "epochs")) {
    if (!entry.is_directory()) continue;
    names.insert(entry.path().filename().string());
    photos.insert(read_file(entry.path() / "photo.png", 1 << 20));
    EXPECT_TRUE(std::filesystem::exists(entry.path() / "0001.png"));
    EXPECT_TRUE(std::filesystem::exists(entry.path() / "0002.png"));
  }
  EXPECT_EQ(names, (std::set<std::string>{"sample_2", "a_b", "sample_2_", "c"}));
  EXPECT_EQ(photos.size(), 4u) << "none is another's";
}

}  // namespace
}  // namespace macadam
