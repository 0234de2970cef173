#include "engine/train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace macadam;

namespace {

Schedule schedule(ScheduleKind kind, int64_t warmup, int64_t total, double min_lr = 0) {
  return {kind, 0.1, min_lr, warmup, total};
}

}  // namespace

TEST(Schedule, WarmUpRisesLinearlyToThePeak) {
  const Schedule s = schedule(ScheduleKind::cosine, 4, 100);
  EXPECT_DOUBLE_EQ(learning_rate(s, 0), 0.1 * 1 / 5);
  EXPECT_DOUBLE_EQ(learning_rate(s, 1), 0.1 * 2 / 5);
  EXPECT_DOUBLE_EQ(learning_rate(s, 3), 0.1 * 4 / 5);
  EXPECT_DOUBLE_EQ(learning_rate(s, 4), 0.1);
  EXPECT_LT(learning_rate(s, 5), 0.1);
}

TEST(Schedule, CosineIsHalfWayInTheMiddleAndEndsAtTheMinimum) {
  const Schedule s = schedule(ScheduleKind::cosine, 20, 120, 0.02);
  EXPECT_DOUBLE_EQ(learning_rate(s, 20), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 45), 0.02 + 0.08 * (1 + std::sqrt(0.5)) / 2);
  EXPECT_NEAR(learning_rate(s, 70), 0.06, 1e-15);
  EXPECT_NEAR(learning_rate(s, 120), 0.02, 1e-15);
  EXPECT_NEAR(learning_rate(s, 10'000), 0.02, 1e-15);
  for (int64_t step = 20; step < 119; ++step) {
    EXPECT_GT(learning_rate(s, step), learning_rate(s, step + 1));
  }
}

TEST(Schedule, PolyFollowsThePowerOfNineTenths) {
  const Schedule s = schedule(ScheduleKind::poly, 0, 100, 0.02);
  EXPECT_DOUBLE_EQ(learning_rate(s, 0), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 50), 0.02 + 0.08 * std::pow(0.5, 0.9));
  EXPECT_DOUBLE_EQ(learning_rate(s, 99), 0.02 + 0.08 * std::pow(0.01, 0.9));
  EXPECT_DOUBLE_EQ(learning_rate(s, 100), 0.02);
}

TEST(Schedule, PolyTakesAnyPower) {
  Schedule s = schedule(ScheduleKind::poly, 0, 100, 0.02);
  s.power = 1;
  EXPECT_DOUBLE_EQ(learning_rate(s, 25), 0.02 + 0.08 * 0.75);
  s.power = 2;
  EXPECT_DOUBLE_EQ(learning_rate(s, 50), 0.02 + 0.08 * 0.25);
}

TEST(Schedule, OneCycleRisesFromATwentyFifthAndFallsToTheMinimum) {
  const Schedule s = schedule(ScheduleKind::one_cycle, 30, 100, 0.001);
  EXPECT_DOUBLE_EQ(learning_rate(s, 0), 0.1 / 25);
  EXPECT_DOUBLE_EQ(learning_rate(s, 15), (0.1 / 25 + 0.1) / 2);
  EXPECT_DOUBLE_EQ(learning_rate(s, 30), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 65), (0.1 + 0.001) / 2);
  EXPECT_DOUBLE_EQ(learning_rate(s, 100), 0.001);
}

TEST(Schedule, StepMultipliesAgainAndAgain) {
  Schedule s = schedule(ScheduleKind::step, 2, 100);
  s.factor = 0.5;
  s.step_steps = 30;
  EXPECT_DOUBLE_EQ(learning_rate(s, 0), 0.1 / 3);
  EXPECT_DOUBLE_EQ(learning_rate(s, 2), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 29), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 30), 0.05);
  EXPECT_DOUBLE_EQ(learning_rate(s, 59), 0.05);
  EXPECT_DOUBLE_EQ(learning_rate(s, 90), 0.0125);
}

TEST(Schedule, ConstantStaysAtThePeak) {
  const Schedule s = schedule(ScheduleKind::constant, 2, 10, 0.02);
  EXPECT_DOUBLE_EQ(learning_rate(s, 0), 0.1 / 3);
  EXPECT_DOUBLE_EQ(learning_rate(s, 2), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(s, 9), 0.1);
}

TEST(Schedule, ARunOfOneStepAndOneOfWarmUpAlone) {
  EXPECT_DOUBLE_EQ(learning_rate(schedule(ScheduleKind::cosine, 0, 1), 0), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule(ScheduleKind::poly, 3, 3), 2), 0.1 * 3 / 4);
  EXPECT_DOUBLE_EQ(learning_rate(schedule(ScheduleKind::poly, 3, 3), 3), 0.1);
}

TEST(Schedule, NonsenseIsRefused) {
  EXPECT_THROW(learning_rate(schedule(ScheduleKind::cosine, 11, 10), 0), std::logic_error);
  EXPECT_THROW(learning_rate(schedule(ScheduleKind::cosine, 0, 10), -1), std::logic_error);
}
