#include "engine/infer/evaluator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>

#include "tests/engine/memory_source.h"
#include "tests/engine/naive_network.h"
#include "tests/engine/small_networks.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr Shape kInput{2, 8, 12, 3};
constexpr int kClasses = 4;
constexpr int kSamples = 5;  // the last batch is padded

class EvaluatorTest : public ::testing::Test {
 protected:
  EvaluatorTest()
      : graph_(small_resnet(kInput, kClasses)),
        parameters_(graph_.parameters(), context_.stream, false),
        source_(kSamples, kInput, kClasses, 1) {
    set_hashed_values(parameters_);
    options_.loss = make_loss({loss_term("ce"), loss_term("dice")});
  }

  Evaluator make() { return Evaluator(graph_, parameters_, context_, options_); }

  void add_all(Evaluator& evaluator) {
    source_.start(0, 0);
    for (int64_t i = 0; i < source_.batches(); ++i) evaluator.add(source_.next());
  }

  DeviceContext context_;
  Graph graph_;
  Parameters parameters_;
  MemorySource source_;
  EvaluatorOptions options_;
};

// The mean loss and the confusion matrix, counted by hand from an independent forward pass.
TEST_F(EvaluatorTest, CountsWhatTheOracleCounts) {
  Evaluator evaluator = make();
  NaiveNetwork oracle(graph_, parameters_, false, 0);
  ConfusionMatrix wanted(kClasses);
  double loss_sum = 0, ce_sum = 0, pixels = 0;
  source_.start(0, 0);
  for (int64_t i = 0; i < source_.batches(); ++i) {
    const Batch& batch = source_.next();
    evaluator.add(batch);
    context_.ops.augment->prepare_images(batch.images, false, options_.normalization,
                                         oracle.input());
    std::copy_n(batch.labels.as<uint8_t>(), batch.labels.bytes(), oracle.labels().as<uint8_t>());
    oracle.forward({});
    const LossValues loss = oracle.loss(options_.loss, {});
    loss_sum += static_cast<double>(loss.total * loss.valid_pixels);
    ce_sum += static_cast<double>(loss.terms[0] * loss.valid_pixels);
    pixels += static_cast<double>(loss.valid_pixels);
    const float* scores = oracle.output().as<float>();
    const uint8_t* predictions = evaluator.predictions();
    for (int64_t p = 0; p < kInput.pixels(); ++p) {
      const float* row = scores + p * kClasses;
      const auto best = static_cast<int>(std::max_element(row, row + kClasses) - row);
      EXPECT_EQ(predictions[p], best) << "batch " << i << ", pixel " << p;
      const uint8_t label = oracle.labels().as<uint8_t>()[p];
      if (label != 255) wanted.add(label, best);
    }
  }
  EXPECT_EQ(evaluator.confusion(), wanted);
  EXPECT_NEAR(evaluator.mean_loss(), loss_sum / pixels, 1e-5);
  const std::vector<double> terms = evaluator.mean_terms();
  ASSERT_EQ(terms.size(), 2u);
  EXPECT_NEAR(terms[0], ce_sum / pixels, 1e-5);
  EXPECT_NEAR(terms[0] + terms[1], evaluator.mean_loss(), 1e-6);
  uint64_t counted = 0;
  for (uint64_t n : wanted.counts()) counted += n;
  EXPECT_EQ(static_cast<double>(counted), pixels) << "padding is not counted";
  EXPECT_LT(counted, static_cast<uint64_t>(kSamples * kInput.h * kInput.w));
}

TEST_F(EvaluatorTest, ResetForgetsAndTakesNewParameters) {
  Evaluator evaluator = make();
  EXPECT_TRUE(std::isnan(evaluator.mean_loss()));
  add_all(evaluator);
  const ConfusionMatrix first = evaluator.confusion();
  const double loss = evaluator.mean_loss();
  evaluator.reset();
  EXPECT_TRUE(std::isnan(evaluator.mean_loss()));
  EXPECT_EQ(evaluator.confusion(), ConfusionMatrix(kClasses));
  add_all(evaluator);
  EXPECT_EQ(evaluator.confusion(), first);
  EXPECT_EQ(evaluator.mean_loss(), loss);

  parameters_.initialize(9);
  evaluator.reset();
  add_all(evaluator);
  EXPECT_NE(evaluator.mean_loss(), loss);
}

TEST_F(EvaluatorTest, ClassWeightsAreThoseOfTraining) {
  options_.loss = LossDesc{};
  Evaluator plain = make();
  add_all(plain);
  options_.class_weights = {1, 1, 1, 1};
  Evaluator ones = make();
  add_all(ones);
  EXPECT_FLOAT_EQ(static_cast<float>(ones.mean_loss()), static_cast<float>(plain.mean_loss()));
  options_.class_weights = {9, 1, 1, 1};
  Evaluator uneven = make();
  add_all(uneven);
  EXPECT_NE(uneven.mean_loss(), plain.mean_loss());
  EXPECT_EQ(uneven.confusion(), plain.confusion());
}

/// Mean IoU of an image's own classes, counted another way: by sets of pixels.
double image_iou(const EvaluatedSample& sample) {
  std::map<int, std::set<size_t>> truth, found;
  for (size_t i = 0; i < sample.labels.size(); ++i) {
    if (sample.labels[i] == 255) continue;
    truth[sample.labels[i]].insert(i);
    found[sample.classes[i]].insert(i);
  }
  std::set<int> classes;
  for (const auto& [c, pixels] : truth) classes.insert(c);
  for (const auto& [c, pixels] : found) classes.insert(c);
  double sum = 0;
  for (const int c : classes) {
    std::vector<size_t> both, any;
    std::ranges::set_intersection(truth[c], found[c], std::back_inserter(both));
    std::ranges::set_union(truth[c], found[c], std::back_inserter(any));
    sum += static_cast<double>(both.size()) / static_cast<double>(any.size());
  }
  return sum / static_cast<double>(classes.size());
}

TEST_F(EvaluatorTest, KeepsTheBestAndTheWorstSamples) {
  Evaluator evaluator = make();
  const auto always = [](int64_t, int64_t) { return true; };
  const auto all = evaluate(evaluator, source_, {.spread = 100, .extremes = 100}, always);
  const auto some = evaluate(evaluator, source_, {.spread = 0, .extremes = 2}, always);
  ASSERT_TRUE(all && some);
  EXPECT_TRUE(all->best.empty()) << "all are among the worst";
  ASSERT_GT(all->worst.size(), 4u);
  std::set<int> samples;
  for (size_t i = 0; i < all->worst.size(); ++i) {
    EXPECT_NEAR(all->worst[i].iou, image_iou(all->worst[i]), 1e-12);
    if (i > 0) {
      EXPECT_LE(all->worst[i - 1].iou, all->worst[i].iou);
    }
    EXPECT_TRUE(samples.insert(all->worst[i].sample).second) << "a sample stands once";
  }
  for (const EvaluatedSample& sample : all->samples) EXPECT_TRUE(std::isnan(sample.iou));
  ASSERT_EQ(some->worst.size(), 2u);
  ASSERT_EQ(some->best.size(), 2u);
  EXPECT_TRUE(some->samples.empty());
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(some->worst[i].iou, all->worst[i].iou);
    EXPECT_EQ(some->best[i].iou, all->worst[all->worst.size() - 1 - i].iou);
  }
}

TEST_F(EvaluatorTest, NeedsLabels) {
  Evaluator evaluator = make();
  source_.start(0, 0);
  Batch batch = source_.next();
  batch.labels = {};
  EXPECT_THROW(evaluator.add(batch), std::logic_error);
}

}  // namespace
