// How many photos a batch has where the device's memory decides.

#include "run/auto_batch.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "run/resume.h"
#include "run/training_run.h"
#include "tests/base/temporary_folder.h"
#include "tests/run/small_run.h"

namespace macadam {
namespace {

TEST(LargestBatch, IsThePowerOfTwoThatFits) {
  std::vector<int> asked;
  const auto linear = [&](int batch) {
    asked.push_back(batch);
    return size_t{100} + 50 * static_cast<size_t>(batch);
  };
  EXPECT_EQ(largest_batch(100 + 50 * 32, 64, linear), 32);
  EXPECT_EQ(asked, (std::vector{1, 2, 32})) << "of what grows linearly few are tried";
  EXPECT_EQ(largest_batch(99 + 50 * 32, 64, linear), 16);
  EXPECT_EQ(largest_batch(100 + 50 * 32, 20, linear), 16) << "no more than the most";
  EXPECT_EQ(largest_batch(220, 64, linear), 2);
  EXPECT_EQ(largest_batch(199, 64, linear), 1);
  EXPECT_EQ(largest_batch(1000, 1, linear), 1);
  EXPECT_EQ(largest_batch(149, 64, linear), 0) << "not even one";
}

TEST(LargestBatch, IsTriedBeforeItIsBelieved) {
  const auto jumps = [](int batch) { return static_cast<size_t>(batch > 4 ? 1000 : 10 * batch); };
  EXPECT_EQ(largest_batch(300, 64, jumps), 4);
}

class Notices final : public RunObserver {
 public:
  void on_notice(const std::string& line) override { lines.push_back(line); }

  std::vector<std::string> lines;
};

TEST(AutoBatch, IsChosenOnceAndKept) {
  const testing::TemporaryFolder folder;
  testing::write_small_streets(folder.path(), 32);
  const Config config = testing::small_run(folder.path(), "auto", "", {"batch=auto", "epochs=1"});
  ASSERT_TRUE(config.auto_batch);
  Notices notices;
  TrainingRun(config, {}, notices).run([] { return false; });
  EXPECT_NE(notices.lines.front().find("a batch is of 4 photos"), std::string::npos)
      << "an eighth of 32, which fit any machine: " << notices.lines.front();
  const BegunRun begun = read_begun_run(folder.path() / "runs" / "auto");
  EXPECT_EQ(begun.config.batch, 4);
  EXPECT_FALSE(begun.config.auto_batch) << "what was chosen is written";

  Config again = config;
  again.epochs = 2;
  EXPECT_EQ(TrainingRun(again, {.resume = true}, notices).config().batch, 4);
  again = testing::small_run(folder.path(), "auto", "", {"batch=2", "epochs=2"});
  try {
    TrainingRun(again, {.resume = true}, notices);
    FAIL() << "resumed with another batch";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("'batch' is 2"), std::string::npos) << error.what();
  }
}

TEST(AutoBatch, IsNoneOfAClassifier) {
  const testing::TemporaryFolder folder;
  testing::write_small_streets(folder.path(), 32);
  const Config config =
      testing::small_run(folder.path(), "auto", "", {"batch=auto", "network=resnet34"});
  Notices notices;
  EXPECT_THROW(TrainingRun(config, {}, notices), InputError);
  EXPECT_TRUE(notices.lines.empty()) << "nothing was measured for it";
}

// A batch norm behind the mean over a photo alone would learn a variance of 0.
TEST(AutoBatch, IsTwoAtLeastWhereNormsNeedThem) {
  const testing::TemporaryFolder folder;
  testing::write_small_streets(folder.path(), 8);
  const auto run = [&](const std::string& batch, const std::string& network,
                       const std::string& norms) {
    Notices notices;
    return TrainingRun(testing::small_run(folder.path(), "one", "",
                                          {batch, network, norms, "size=[64, 64]", "epochs=1"}),
                       {.profile = true}, notices)
        .config()
        .batch;
  };
  const std::string pyramid = "network=fast_scnn", none = "freeze_batch_norm=none",
                    all = "freeze_batch_norm=all";
  EXPECT_EQ(run("batch=auto", pyramid, none), 2) << "where an eighth of the photos is one";
  EXPECT_EQ(run("batch=auto", pyramid, all), 1);
  EXPECT_EQ(run("batch=auto", "network=unet_mini", none), 1);
  EXPECT_EQ(run("batch=1", pyramid, all), 1);
  for (const char* network : {"fast_scnn", "ddrnet23_slim", "pidnet_s", "gcnet_s"}) {
    try {
      run("batch=1", std::string("network=") + network, none);
      ADD_FAILURE() << network << " took a batch of one";
    } catch (const InputError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("2 photos or more"), std::string::npos) << network << message;
    }
  }
}

}  // namespace
}  // namespace macadam
