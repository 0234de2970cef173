// How far Lovász-softmax of binned errors is from that of sorted ones, which the reference has.

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/scalar/error_bins.h"
#include "tests/kernels/backends.h"
#include "tests/kernels/op_cases.h"
#include "tests/kernels/op_runner.h"

namespace macadam::testing {
namespace {

/// Half a step, and what fp32 makes of sums.
constexpr double kBound = 0.5 / scalar::kErrorSteps + 1e-5;

TEST(ErrorBins, AreTheNearestSteps) {
  EXPECT_EQ(scalar::error_bin(0.0f, false), 0);
  EXPECT_EQ(scalar::error_bin(1.0f, true), 0);
  EXPECT_EQ(scalar::error_bin(1.0f, false), scalar::kErrorSteps);
  EXPECT_EQ(scalar::error_bin(0.25f, true), scalar::kErrorSteps * 3 / 4);
  EXPECT_EQ(scalar::error_bin(0.49f / scalar::kErrorSteps, false), 0);
  EXPECT_EQ(scalar::error_bin(0.51f / scalar::kErrorSteps, false), 1);
  EXPECT_EQ(scalar::error_bin(1.0f + 0x1p-22f, false), scalar::kErrorSteps);
  EXPECT_EQ(scalar::error_bin(1.0f + 0x1p-22f, true), 0);
  EXPECT_EQ(scalar::error_bin(std::nanf(""), true), 0);
}

class LovaszSoftmax : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    backend_ = find_backend(GetParam());
    if (!backend_) GTEST_SKIP() << "no CUDA device";
  }

  static LossCase loss(Shape logits, double scale) {
    return {.name = "bound",
            .logits = logits,
            .desc = make_loss({loss_term("lovasz")}),
            .labeled = logits.c,
            .scale = scale};
  }
  Values run(const OpCase& op, const Values& inputs) {
    BoundOp bound(op, backend_->ops, backend_->stream, inputs);
    bound.run();
    return bound.results();
  }

  Backend* backend_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Cpu, LovaszSoftmax, ::testing::Values("Cpu"));
#if defined(MACADAM_HAS_EMULATED)
INSTANTIATE_TEST_SUITE_P(Emulated, LovaszSoftmax, ::testing::Values("Emulated"));
#endif
#if defined(MACADAM_HAS_CUDA)
INSTANTIATE_TEST_SUITE_P(Cuda, LovaszSoftmax, ::testing::Values("Cuda"));
#endif

// From a network that knows nothing to one that is sure of everything.
TEST_P(LovaszSoftmax, IsWithinHalfAStepOfTheSortedOne) {
  for (const double scale : {0.01, 1.0, 4.0, 30.0}) {
    SCOPED_TRACE(scale);
    const OpCase op = segmentation_loss(loss({2, 61, 67, 5}, scale), DType::f32, true);
    const Values inputs = make_inputs(op);
    const Values exact = reference_results(op, inputs), got = run(op, inputs);
    EXPECT_NEAR(got.at("values")[0], exact.at("values")[0], kBound);
    double error = 0, norm = 0;
    const std::vector<double>&d = got.at("dlogits"), &wanted = exact.at("dlogits");
    for (size_t i = 0; i < wanted.size(); ++i) {
      error += (d[i] - wanted[i]) * (d[i] - wanted[i]);
      norm += wanted[i] * wanted[i];
    }
    // Where all probabilities are alike, a bin holds most pixels, and their order is chance.
    EXPECT_LE(std::sqrt(error / norm), scale < 0.1 ? 0.3 : 0.003);
  }
}

// The worst for rounding: every error at the border of two bins.
TEST_P(LovaszSoftmax, IsWithinHalfAStepAtTheBordersOfBins) {
  const OpCase op = segmentation_loss(loss({1, 16, 16, 2}, 1), DType::f32, false);
  Values inputs = make_inputs(op);
  std::vector<double>& logits = inputs.at("logits");
  for (size_t i = 0; i < logits.size(); i += 2) {
    const double p = (static_cast<double>(i % 64) * 16 + 0.5) / scalar::kErrorSteps;
    logits[i] = static_cast<float>(std::log(p / (1 - p)));
    logits[i + 1] = 0;
  }
  EXPECT_NEAR(run(op, inputs).at("values")[0], reference_results(op, inputs).at("values")[0],
              kBound);
}

// Counts are whole numbers.
TEST_P(LovaszSoftmax, RepeatsBitForBit) {
  const OpCase op = segmentation_loss(loss({2, 61, 67, 5}, 2), DType::f32, true);
  const Values inputs = make_inputs(op);
  const Values first = run(op, inputs);
  EXPECT_EQ(run(op, inputs), first);
}

TEST_P(LovaszSoftmax, OfNanIsNan) {
  const OpCase op = segmentation_loss(loss({1, 5, 9, 3}, 2), DType::f32, true);
  Values inputs = make_inputs(op);
  inputs.at("labels")[7] = 1;
  inputs.at("logits")[7 * 3] = std::nan("");
  EXPECT_TRUE(std::isnan(run(op, inputs).at("values")[0]));
}

}  // namespace
}  // namespace macadam::testing
