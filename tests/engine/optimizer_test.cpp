#include "engine/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace macadam;

namespace {

constexpr Parameters::Field kValue = Parameters::Field::value;
constexpr Parameters::Field kGradient = Parameters::Field::gradient;

/// Two parameters of one element, both 1 with gradient 0.5.
class OptimizerScales : public ::testing::Test {
 protected:
  OptimizerScales() {
    for (const size_t p : {size_t{0}, size_t{1}}) {
      parameters_.write(p, kValue, std::vector<float>{1.0f});
      parameters_.write(p, kGradient, std::vector<float>{0.5f});
    }
  }
  static OptimizerOptions options(OptimizerKind kind) {
    OptimizerOptions options;
    options.kind = kind;
    options.weight_decay = 0.1f;
    return options;
  }
  void update(Optimizer& optimizer, uint64_t step) {
    const StepState state = optimizer.state(step, 0.01f);
    optimizer.update(&state);
  }
  float value(size_t p, Parameters::Field field = kValue) const {
    return parameters_.read(p, field)[0];
  }

  Stream stream_;
  Ops ops_ = make_ops(stream_);
  Parameters parameters_{
      std::vector<ParameterSpec>{{"a.weight", {1, 1, 1, 1}, ParameterRole::conv_weight, {}},
                                 {"b.weight", {1, 1, 1, 1}, ParameterRole::conv_weight, {}}},
      stream_, true};
};

TEST_F(OptimizerScales, ZeroFreezesValuesDecayAndMoments) {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adamw}) {
    Optimizer optimizer(options(kind), parameters_, stream_, ops_);
    optimizer.set_learning_rate_scales(std::vector<float>{0, 1});
    const float other = value(1);
    for (uint64_t step = 0; step < 3; ++step) update(optimizer, step);
    EXPECT_EQ(value(0), 1);
    EXPECT_EQ(value(0, Parameters::Field::moment1), 0);
    EXPECT_EQ(value(0, Parameters::Field::moment2), 0);
    EXPECT_LT(value(1), other);
  }
}

TEST_F(OptimizerScales, AFactorMultipliesTheLearningRate) {
  Optimizer optimizer(options(OptimizerKind::sgd), parameters_, stream_, ops_);
  optimizer.set_learning_rate_scales(std::vector<float>{0.25f, 1});
  update(optimizer, 0);
  EXPECT_FLOAT_EQ(value(0), 1 - 0.25f * 0.01f * (0.5f + 0.1f));
  EXPECT_FLOAT_EQ(value(1), 1 - 0.01f * (0.5f + 0.1f));
}

// The moments begin when the parameter thaws, the bias corrections with the run.
TEST_F(OptimizerScales, AThawedParameterStartsFromEmptyMoments) {
  const OptimizerOptions adamw = options(OptimizerKind::adamw);
  Optimizer optimizer(adamw, parameters_, stream_, ops_);
  optimizer.set_learning_rate_scales(std::vector<float>{0, 1});
  for (uint64_t step = 0; step < 4; ++step) update(optimizer, step);
  optimizer.set_learning_rate_scales(std::vector<float>{1, 0});
  const float other = value(1);
  update(optimizer, 4);
  const double beta1 = 0.9, beta2 = 0.999, g = 0.5;
  const double m = (1 - beta1) * g / (1 - std::pow(beta1, 5));
  const double v = (1 - beta2) * g * g / (1 - std::pow(beta2, 5));
  EXPECT_NEAR(value(0), 1 - 0.01 * 0.1 - 0.01 * m / (std::sqrt(v) + 1e-8), 1e-6);
  EXPECT_EQ(value(1), other);
}

TEST_F(OptimizerScales, NeedsOneAParameter) {
  Optimizer optimizer(options(OptimizerKind::sgd), parameters_, stream_, ops_);
  EXPECT_THROW(optimizer.set_learning_rate_scales(std::vector<float>{1}), std::logic_error);
}

}  // namespace
