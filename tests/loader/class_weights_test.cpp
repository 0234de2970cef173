#include "loader/class_weights.h"

#include <gtest/gtest.h>

#include <cmath>

namespace macadam {
namespace {

// Two images of 100 labelled pixels: the first has 90 + 10, the second 50 + 50 of classes 0 and 2.
const std::vector<ClassFrequency> kClasses{{140, 2, 200}, {10, 1, 100}, {50, 1, 100}, {0, 0, 0}};

TEST(ClassWeights, EnetBoundsThemByTheShareOfPixels) {
  const auto weights = class_weights(ClassWeighting::enet, kClasses);
  EXPECT_DOUBLE_EQ(weights[0], 1 / std::log(1.02 + 0.7));
  EXPECT_DOUBLE_EQ(weights[1], 1 / std::log(1.02 + 0.05));
  EXPECT_DOUBLE_EQ(weights[2], 1 / std::log(1.02 + 0.25));
  EXPECT_EQ(weights[3], 0);
}

TEST(ClassWeights, MedianFrequencyCountsOnlyImagesThatHaveTheClass) {
  // Frequencies 0.7, 0.1, 0.5; their median is 0.5, and the absent class has no say in it.
  const auto weights = class_weights(ClassWeighting::median_frequency, kClasses);
  EXPECT_DOUBLE_EQ(weights[0], 0.5 / 0.7);
  EXPECT_DOUBLE_EQ(weights[1], 5);
  EXPECT_DOUBLE_EQ(weights[2], 1);
  EXPECT_EQ(weights[3], 0);
  // Of an even number, the mean of the middle two.
  const auto two = class_weights(ClassWeighting::median_frequency, {{30, 1, 100}, {70, 1, 100}});
  EXPECT_DOUBLE_EQ(two[0], 0.5 / 0.3);
}

TEST(ClassWeights, EffectiveNumbersGrowWithImagesAndHaveAMeanOfOne) {
  const auto weights = class_weights(ClassWeighting::effective_number, kClasses);
  EXPECT_NEAR((weights[0] + weights[1] + weights[2]) / 3, 1, 1e-12);
  EXPECT_DOUBLE_EQ(weights[1], weights[2]);
  EXPECT_NEAR(weights[1] / weights[0], (1 - 0.999 * 0.999) / (1 - 0.999), 1e-9);
  EXPECT_EQ(weights[3], 0);
  const auto none = class_weights(ClassWeighting::effective_number, kClasses, {.beta = 0});
  EXPECT_EQ(none, (std::vector<double>{1, 1, 1, 0})) << "a second image adds nothing";
}

TEST(ClassWeights, BalancedGivesEveryClassTheSameSumUpToACap) {
  const auto weights = class_weights(ClassWeighting::balanced, kClasses);
  EXPECT_DOUBLE_EQ(weights[0], 200.0 / (3 * 140));
  EXPECT_DOUBLE_EQ(weights[1], 200.0 / (3 * 10));
  EXPECT_DOUBLE_EQ(weights[2], 200.0 / (3 * 50));
  EXPECT_EQ(weights[3], 0);
  EXPECT_EQ(class_weights(ClassWeighting::balanced, kClasses, {.cap = 2})[1], 2);
}

TEST(ClassWeights, CityscapesHasNineteen) {
  const auto weights =
      class_weights(ClassWeighting::cityscapes, std::vector<ClassFrequency>(kCityscapesWeights));
  EXPECT_EQ(weights.front(), 0.8373);
  EXPECT_EQ(weights.back(), 1.0507);
  EXPECT_THROW(class_weights(ClassWeighting::cityscapes, kClasses), std::logic_error);
}

TEST(ClassWeights, NothingLabeledWeighsNothing) {
  for (const auto weighting : {ClassWeighting::enet, ClassWeighting::median_frequency,
                               ClassWeighting::effective_number, ClassWeighting::balanced}) {
    EXPECT_EQ(class_weights(weighting, {{}, {}}), (std::vector<double>{0, 0}));
  }
}

}  // namespace
}  // namespace macadam
