#include "engine/infer/evaluator.h"

#include <gtest/gtest.h>

#include <cmath>

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

TEST_F(EvaluatorTest, NeedsLabels) {
  Evaluator evaluator = make();
  source_.start(0, 0);
  Batch batch = source_.next();
  batch.labels = {};
  EXPECT_THROW(evaluator.add(batch), std::logic_error);
}

}  // namespace
