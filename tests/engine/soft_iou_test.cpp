#include "engine/infer/soft_iou.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

using namespace macadam;

namespace {

using Labels = std::vector<uint8_t>;

/// The logits whose softmax is the probabilities; any constant may be added.
std::vector<float> logits(const std::vector<double>& probabilities, double constant = 0) {
  std::vector<float> scores;
  for (const double p : probabilities) scores.push_back(static_cast<float>(std::log(p) + constant));
  return scores;
}

TEST(SoftIou, HandComputed) {
  SoftIou iou(2, 4);
  EXPECT_TRUE(std::isnan(iou.value()));
  iou.add(Labels{0, 1, 1}, logits({0.75, 0.25, 0.5, 0.5, 0.125, 0.875}));
  // Class 0: p 0.75 + 0.5 + 0.125, g 1, p g 0.75; class 1: p 1.625, g 2, p g 1.375.
  const double s = 1e-5;
  const double wanted =
      ((0.75 + s) / (1.375 + 1 - 0.75 + s) + (1.375 + s) / (1.625 + 2 - 1.375 + s)) / 2;
  EXPECT_NEAR(iou.value(), wanted, 1e-7);
  SoftIou shifted(2, 4);
  shifted.add(Labels{0, 1, 1}, logits({0.75, 0.25, 0.5, 0.5, 0.125, 0.875}, 300));
  EXPECT_NEAR(shifted.value(), wanted, 1e-4);
}

TEST(SoftIou, IsAMeanOverBatchesSoThatItDependsOnThem) {
  const Labels labels[]{{0, 0}, {1, 1}, {0, 1}};
  const std::vector<float> scores[]{logits({0.9, 0.1, 0.8, 0.2}), logits({0.4, 0.6, 0.3, 0.7}),
                                    logits({0.5, 0.5, 0.5, 0.5})};
  const auto alone = [&](std::initializer_list<size_t> photos) {
    SoftIou iou(2, 100);
    for (const size_t i : photos) iou.add(labels[i], scores[i]);
    return iou.value();
  };
  SoftIou pairs(2, 2), singles(2, 1);
  for (size_t i = 0; i < 3; ++i) {
    pairs.add(labels[i], scores[i]);
    singles.add(labels[i], scores[i]);
  }
  EXPECT_DOUBLE_EQ(pairs.value(), (alone({0, 1}) + alone({2})) / 2);
  EXPECT_DOUBLE_EQ(singles.value(), (alone({0}) + alone({1}) + alone({2})) / 3);
  EXPECT_GT(std::abs(pairs.value() - singles.value()), 0.01);
}

TEST(SoftIou, AClassThatIsNowhereCountsAlmostOneWhereItIsNotPredicted) {
  SoftIou iou(3, 1);
  iou.add(Labels{0}, std::vector<float>{60, -60, -60});
  EXPECT_NEAR(iou.value(), 1, 1e-9);
  SoftIou doubtful(3, 1);
  doubtful.add(Labels{0}, logits({0.98, 0.01, 0.01}));
  EXPECT_NEAR(doubtful.value(), (0.98 + 2 * 1e-5 / 0.01) / 3, 1e-3);
}

TEST(SoftIou, NothingIsIgnored) {
  SoftIou iou(2, 1);
  iou.add(Labels{0, 255}, logits({0.5, 0.5, 0.5, 0.5}));
  EXPECT_NEAR(iou.value(), (0.5 / 1.5 + 0) / 2, 1e-4);
  EXPECT_THROW(iou.add(Labels{0}, std::vector<float>(3)), std::logic_error);
  EXPECT_THROW(SoftIou(2, 0), std::logic_error);
}

}  // namespace
