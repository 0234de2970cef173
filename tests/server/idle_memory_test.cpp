#include "server/monitor/idle_memory.h"

#include <gtest/gtest.h>

namespace macadam {
namespace {

using namespace std::chrono_literals;

class IdleMemoryTest : public ::testing::Test {
 protected:
  /// Asked `after` the last time.
  bool due(std::chrono::milliseconds after, uint64_t begun, int working) {
    now_ += after;
    return memory_.due(begun, working, now_);
  }

 private:
  IdleMemory memory_;
  IdleMemory::Clock::time_point now_{};
};

TEST_F(IdleMemoryTest, IsDueOnceWhenNothingHasComeForAWhile) {
  EXPECT_FALSE(due(1h, 0, 0)) << "nothing was ever asked";
  EXPECT_FALSE(due(50ms, 1, 0)) << "came and went between two looks";
  EXPECT_FALSE(due(IdleMemory::kQuiet - 1ms, 1, 0));
  EXPECT_TRUE(due(1ms, 1, 0));
  EXPECT_FALSE(due(1h, 1, 0)) << "it has gone already";
  EXPECT_FALSE(due(50ms, 2, 0));
  EXPECT_TRUE(due(IdleMemory::kQuiet, 2, 0));
}

TEST_F(IdleMemoryTest, IsKeptWhileARequestWorks) {
  EXPECT_FALSE(due(50ms, 1, 1));
  EXPECT_FALSE(due(1h, 1, 1));
  EXPECT_FALSE(due(50ms, 1, 0));
  EXPECT_FALSE(due(IdleMemory::kQuiet - 51ms, 1, 0)) << "it ended after the last look but one";
  EXPECT_TRUE(due(51ms, 1, 0));
}

}  // namespace
}  // namespace macadam
