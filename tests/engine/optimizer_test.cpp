#include "engine/train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/engine/hashed.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr Parameters::Field kValue = Parameters::Field::value;
constexpr Parameters::Field kGradient = Parameters::Field::gradient;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

OptimizerOptions options_of(OptimizerKind kind) {
  OptimizerOptions options;
  options.kind = kind;
  options.weight_decay = 0.1f;
  return options;
}

/// Two parameters of one element, both 1 with gradient 0.5.
class OptimizerScales : public ::testing::Test {
 protected:
  OptimizerScales() {
    for (const size_t p : {size_t{0}, size_t{1}}) {
      parameters_.write(p, kValue, std::vector<float>{1.0f});
      parameters_.write(p, kGradient, std::vector<float>{0.5f});
    }
  }
  static void update(Optimizer& optimizer, uint64_t step) {
    const StepState state = optimizer.state(step, 0.01f);
    optimizer.update(&state);
  }
  float value(size_t p) const { return parameters_.read(p, kValue)[0]; }

  DeviceContext context_;
  Parameters parameters_{
      std::vector<ParameterSpec>{{"a.weight", {1, 1, 1, 1}, ParameterRole::conv_weight, {}},
                                 {"b.weight", {1, 1, 1, 1}, ParameterRole::conv_weight, {}}},
      context_.stream, true};
};

TEST_F(OptimizerScales, ZeroFreezesValuesDecayAndMoments) {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adamw}) {
    Optimizer optimizer(options_of(kind), parameters_, context_);
    optimizer.set_learning_rate_scales(std::vector<float>{0, 1}, 0);
    const float other = value(1);
    for (uint64_t step = 0; step < 3; ++step) update(optimizer, step);
    EXPECT_EQ(value(0), 1);
    EXPECT_EQ(optimizer.moments().size(), moments_of(kind));
    for (const Parameters& moment : optimizer.moments()) {
      EXPECT_EQ(moment.read(0, kValue)[0], 0);
      EXPECT_NE(moment.read(1, kValue)[0], 0);
    }
    EXPECT_LT(value(1), other);
  }
}

TEST_F(OptimizerScales, AFactorMultipliesTheLearningRate) {
  Optimizer optimizer(options_of(OptimizerKind::sgd), parameters_, context_);
  optimizer.set_learning_rate_scales(std::vector<float>{0.25f, 1}, 0);
  update(optimizer, 0);
  EXPECT_FLOAT_EQ(value(0), 1 - 0.25f * 0.01f * (0.5f + 0.1f));
  EXPECT_FLOAT_EQ(value(1), 1 - 0.01f * (0.5f + 0.1f));
}

TEST_F(OptimizerScales, AThawedParameterTakesAFirstStep) {
  Optimizer optimizer(options_of(OptimizerKind::adamw), parameters_, context_);
  optimizer.set_learning_rate_scales(std::vector<float>{0, 1}, 0);
  for (uint64_t step = 0; step < 4; ++step) update(optimizer, step);
  optimizer.set_learning_rate_scales(std::vector<float>{1, 0}, 4);
  const float other = value(1);
  update(optimizer, 4);
  EXPECT_FLOAT_EQ(value(0), 1 - 0.01f * 0.1f - 0.01f);  // Adam's first step is lr
  EXPECT_EQ(value(1), other);
  EXPECT_EQ(optimizer.progress(5).updates, (std::vector<uint64_t>{1, 4}));
}

TEST_F(OptimizerScales, NeedsOneAParameter) {
  Optimizer optimizer(options_of(OptimizerKind::sgd), parameters_, context_);
  EXPECT_THROW(optimizer.set_learning_rate_scales(std::vector<float>{1}, 0), std::logic_error);
}

/// Three parameters and a running mean, whose gradients are hashed.
class OptimizerSteps : public ::testing::TestWithParam<OptimizerKind> {
 protected:
  static constexpr size_t kParameters = 4;
  static constexpr size_t kRunningMean = 3;

  using Elements = std::vector<std::vector<double>>;

  /// An optimiser at work on parameters of its own.
  struct Run {
    explicit Run(const OptimizerOptions& options) : optimizer(options, start(), context) {}

    Parameters& start() {
      for (size_t p = 0; p < kParameters; ++p) {
        write(p, kValue, 100 + static_cast<uint32_t>(p));
      }
      return parameters;
    }
    void write(size_t p, Parameters::Field field, uint32_t seed) {
      std::vector<float> values = parameters.read(p, field);
      for (uint32_t i = 0; i < values.size(); ++i) values[i] = hashed_uniform(seed, i, 1.0f);
      parameters.write(p, field, values);
    }
    /// The gradients of batch `seed`.
    void write_gradients(uint32_t seed) {
      for (size_t p = 0; p < kRunningMean; ++p) {
        write(p, kGradient, 1000 * (seed + 1) + static_cast<uint32_t>(p));
      }
    }
    void update(uint64_t step, float lr = 0.01f) {
      const StepState state = optimizer.state(step, lr);
      optimizer.update(&state);
    }
    void step(uint64_t number) {
      write_gradients(static_cast<uint32_t>(number));
      update(number);
    }
    Elements read(Parameters::Field field) const { return read(field, parameters); }
    Elements averages() { return read(kValue, *optimizer.averages()); }
    static Elements read(Parameters::Field field, const Parameters& from) {
      Elements all;
      for (size_t p = 0; p < kParameters; ++p) {
        if (field != kValue && p == kRunningMean) continue;
        const std::vector<float> values = from.read(p, field);
        all.emplace_back(values.begin(), values.end());
      }
      return all;
    }
    /// The norm of the gradient of the parameters [0, count).
    double gradient_norm(size_t count = kRunningMean) const {
      const Elements gradients = read(kGradient);
      double sum = 0;
      for (size_t p = 0; p < count; ++p) {
        for (const double g : gradients[p]) sum += g * g;
      }
      return std::sqrt(sum);
    }

    DeviceContext context;
    Parameters parameters{
        std::vector<ParameterSpec>{{"a.weight", {5, 3, 3, 7}, ParameterRole::conv_weight, {}},
                                   {"a.bias", {1, 1, 1, 5}, ParameterRole::bias, {}},
                                   {"b.weight", {1, 1, 1, 70}, ParameterRole::conv_weight, {}},
                                   {"n.mean", {1, 1, 1, 5}, ParameterRole::running_mean, {}}},
        context.stream, true};
    Optimizer optimizer;
  };

  static OptimizerOptions options() { return options_of(GetParam()); }

  static void expect_near(const Elements& got, const Elements& want, double tolerance = 2e-6) {
    ASSERT_EQ(got.size(), want.size());
    for (size_t p = 0; p < got.size(); ++p) {
      for (size_t i = 0; i < got[p].size(); ++i) {
        ASSERT_NEAR(got[p][i], want[p][i], tolerance) << "element " << i << " of parameter " << p;
      }
    }
  }
  static void expect_same(const Run& a, const Run& b) {
    EXPECT_EQ(a.read(kValue), b.read(kValue));
    for (size_t m = 0; m < a.optimizer.moments().size(); ++m) {
      EXPECT_EQ(Run::read(kValue, a.optimizer.moments()[m]),
                Run::read(kValue, b.optimizer.moments()[m]));
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Kinds, OptimizerSteps,
                         ::testing::Values(OptimizerKind::adamw, OptimizerKind::sgd));

/// PyTorch's optimisers over lists of parameters, in double: each parameter has its own state.
class NaiveOptimizer {
 public:
  explicit NaiveOptimizer(const OptimizerOptions& options) : options_(options) {}

  void update(std::vector<double>& p, const std::vector<double>& gradient, bool decays, double lr) {
    m_.resize(p.size());
    v_.resize(p.size());
    ++updates_;
    const double decay = decays ? double{options_.weight_decay} : 0;
    for (size_t i = 0; i < p.size(); ++i) {
      if (options_.kind == OptimizerKind::sgd) {
        m_[i] = double{options_.sgd.momentum} * m_[i] + gradient[i] + decay * p[i];
        p[i] -= lr * m_[i];
        continue;
      }
      const double beta1 = options_.adamw.beta1, beta2 = options_.adamw.beta2;
      m_[i] = beta1 * m_[i] + (1 - beta1) * gradient[i];
      v_[i] = beta2 * v_[i] + (1 - beta2) * gradient[i] * gradient[i];
      const double m = m_[i] / (1 - std::pow(beta1, updates_));
      const double v = v_[i] / (1 - std::pow(beta2, updates_));
      p[i] -= lr * (decay * p[i] + m / (std::sqrt(v) + double{options_.adamw.eps}));
    }
  }

 private:
  OptimizerOptions options_;
  int updates_ = 0;
  std::vector<double> m_, v_;
};

// The first trains from step 3 on, the second pauses, the third trains throughout.
TEST_P(OptimizerSteps, EveryParameterCountsItsOwnUpdates) {
  const auto trains = [](size_t p, uint64_t step) {
    return p == 0 ? step >= 3 : p == 1 ? step < 3 || step >= 6 : true;
  };
  Run run(options());
  Elements expected = run.read(kValue);
  std::vector<NaiveOptimizer> naive(kRunningMean, NaiveOptimizer(options()));
  for (uint64_t step = 0; step < 10; ++step) {
    std::vector<float> scales(kParameters, 1.0f);
    for (size_t p = 0; p < kRunningMean; ++p) scales[p] = trains(p, step) ? 1.0f : 0.0f;
    if (step % 3 == 0) run.optimizer.set_learning_rate_scales(scales, step);
    run.step(step);
    const Elements gradients = run.read(kGradient);
    for (size_t p = 0; p < kRunningMean; ++p) {
      if (trains(p, step)) naive[p].update(expected[p], gradients[p], p != 1, 0.01);
    }
    expect_near(run.read(kValue), expected);
  }
  const std::vector<uint64_t> counts = run.optimizer.progress(10).updates;
  EXPECT_EQ(std::vector<uint64_t>(counts.begin(), counts.begin() + kRunningMean),
            (std::vector<uint64_t>{7, 7, 10}));
}

TEST_P(OptimizerSteps, ClipsByTheNormOfAllThatIsTrained) {
  OptimizerOptions clipping = options();
  clipping.clip_norm = 0.75f;
  Run run(clipping);
  Elements expected = run.read(kValue);
  std::vector<NaiveOptimizer> naive(kRunningMean, NaiveOptimizer(options()));
  run.optimizer.set_learning_rate_scales(std::vector<float>{1, 1, 0, 1}, 0);
  for (uint64_t step = 0; step < 3; ++step) {
    run.step(step);
    const double norm = run.gradient_norm(2);
    ASSERT_GT(norm, 1);
    Elements gradients = run.read(kGradient);
    for (size_t p = 0; p < 2; ++p) {
      for (double& g : gradients[p]) g *= 0.75 / (norm + 1e-6);
      naive[p].update(expected[p], gradients[p], p != 1, 0.01);
    }
    EXPECT_NEAR(run.optimizer.progress(step + 1).gradient.norm, norm, 1e-6 * norm);
    expect_near(run.read(kValue), expected);
  }
}

TEST_P(OptimizerSteps, ANormBelowTheLimitChangesNoBit) {
  OptimizerOptions clipping = options();
  clipping.clip_norm = 1e3f;
  Run plain(options()), clipped(clipping);
  for (uint64_t step = 0; step < 3; ++step) {
    plain.step(step);
    clipped.step(step);
  }
  expect_same(plain, clipped);
}

TEST_P(OptimizerSteps, AveragesFollowParametersAndStatistics) {
  OptimizerOptions averaging = options();
  averaging.ema = 0.4f;  // above the warm-up's for 5 steps
  Run run(averaging), plain(options());
  Elements expected = run.read(kValue);
  EXPECT_EQ(run.averages(), expected) << "they begin with the parameters";
  run.optimizer.set_learning_rate_scales(std::vector<float>{1, 0, 1, 1}, 0);
  plain.optimizer.set_learning_rate_scales(std::vector<float>{1, 0, 1, 1}, 0);
  for (uint64_t step = 0; step < 8; ++step) {
    run.write(kRunningMean, kValue, 500 + static_cast<uint32_t>(step));
    plain.write(kRunningMean, kValue, 500 + static_cast<uint32_t>(step));
    run.step(step);
    plain.step(step);
    const double t = static_cast<double>(step) + 1;
    const double d = std::min(0.4, (1 + t) / (10 + t));
    const Elements values = run.read(kValue);
    for (size_t p = 0; p < kParameters; ++p) {
      for (size_t i = 0; i < values[p].size(); ++i) {
        expected[p][i] = d * expected[p][i] + (1 - d) * values[p][i];
      }
    }
    expect_near(run.averages(), expected);
  }
  EXPECT_EQ(run.averages()[1], run.read(kValue)[1]) << "frozen from the beginning";
  expect_same(run, plain);
  EXPECT_EQ(plain.optimizer.averages(), nullptr);
}

TEST_P(OptimizerSteps, ASumOfGradientsIsTheirMean) {
  OptimizerOptions summing = options();
  summing.accumulate = 3;
  Run run(summing);
  Elements expected = run.read(kValue);
  std::vector<NaiveOptimizer> naive(kRunningMean, NaiveOptimizer(options()));
  uint32_t batch = 0;
  for (const int count : {3, 1, 2}) {
    Elements mean;
    for (int i = 0; i < count; ++i) {
      run.write_gradients(batch++);
      run.optimizer.add_gradients(i == 0);
      const Elements gradients = run.read(kGradient);
      if (i == 0) mean.assign(gradients.size(), {});
      for (size_t p = 0; p < gradients.size(); ++p) {
        mean[p].resize(gradients[p].size());
        for (size_t k = 0; k < mean[p].size(); ++k) mean[p][k] += gradients[p][k] / count;
      }
    }
    const uint64_t step = count == 3 ? 0 : count == 1 ? 1 : 2;
    const StepState state = run.optimizer.state(step, 0.01f, count - 1, count);
    run.optimizer.update(&state);
    for (size_t p = 0; p < kRunningMean; ++p) naive[p].update(expected[p], mean[p], p != 1, 0.01);
    expect_near(run.read(kValue), expected);
  }
  EXPECT_THROW(run.optimizer.state(3, 0.01f, 0, 4), std::logic_error);
  EXPECT_THROW(run.optimizer.state(3, 0.01f, 2, 2), std::logic_error);
}

TEST_P(OptimizerSteps, BatchesOfAStepHaveTheirOwnDropout) {
  OptimizerOptions summing = options();
  summing.accumulate = 3;
  const Run run(summing), plain(options());
  EXPECT_EQ(run.optimizer.state(4, 0, 2, 3).step, 14u);
  EXPECT_EQ(run.optimizer.state(5, 0, 0, 1).step, 15u);
  EXPECT_EQ(run.optimizer.state(5, 0, 0, 1).update, 5u);
  EXPECT_EQ(plain.optimizer.state(5, 0).step, 5u);
}

// The step that is not made leaves no trace but the halved loss scale.
TEST_P(OptimizerSteps, AnOverflowSkipsTheStepAndHalvesTheScale) {
  OptimizerOptions scaling = options();
  scaling.loss_scaling = true;
  scaling.ema = 0.9f;
  scaling.clip_norm = 1e6f;
  OptimizerOptions plain = options();
  plain.ema = 0.9f;
  for (const float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    Run scaled(scaling), unscaled(plain);
    for (uint64_t step = 0; step < 5; ++step) {
      const float scale = *scaled.optimizer.loss_scale();
      EXPECT_EQ(scale, step <= 2 ? 65536.0f : 32768.0f);
      scaled.write_gradients(static_cast<uint32_t>(step));
      for (size_t p = 0; p < kRunningMean; ++p) {
        std::vector<float> gradient = scaled.parameters.read(p, kGradient);
        for (float& g : gradient) g *= scale;
        if (step == 2 && p == 1) gradient[3] = bad;
        scaled.parameters.write(p, kGradient, gradient);
      }
      scaled.update(step);
      if (step == 2) continue;
      unscaled.write_gradients(static_cast<uint32_t>(step));
      unscaled.update(step < 2 ? step : step - 1);
      expect_same(scaled, unscaled);
      EXPECT_EQ(scaled.averages(), unscaled.averages());
    }
    const OptimizerProgress progress = scaled.optimizer.progress(5);
    EXPECT_EQ(progress.gradient.skipped, 1u);
    EXPECT_EQ(progress.gradient.good_steps, 2u);
    EXPECT_EQ(progress.updates[0], 4u);
  }
}

TEST_P(OptimizerSteps, TheScaleDoublesAfter2000GoodSteps) {
  OptimizerOptions scaling = options();
  scaling.loss_scaling = true;
  Run run(scaling);
  run.write_gradients(0);
  for (uint64_t step = 0; step < 4001; ++step) {
    ASSERT_EQ(*run.optimizer.loss_scale(), step < 2000   ? 65536.0f
                                           : step < 4000 ? 131072.0f
                                                         : 262144.0f);
    run.update(step, 0);
  }
}

TEST_P(OptimizerSteps, WithoutLossScalingNothingIsSkipped) {
  OptimizerOptions clipping = options();
  clipping.clip_norm = 1;
  Run run(clipping);
  EXPECT_EQ(run.optimizer.loss_scale(), nullptr);
  run.write_gradients(0);
  run.parameters.write(1, kGradient, std::vector<float>(5, std::nanf("")));
  run.update(0);
  EXPECT_TRUE(std::isnan(run.read(kValue)[0][0])) << "as clip_grad_norm_";
  EXPECT_EQ(run.optimizer.progress(1).gradient.skipped, 0u);
}

TEST_P(OptimizerSteps, GoesOnWhereItsProgressWasTaken) {
  OptimizerOptions everything = options();
  everything.loss_scaling = true;
  everything.clip_norm = 1e-4f;
  everything.ema = 0.9f;
  const auto scales = [](uint64_t step) {
    return std::vector<float>{step < 3 ? 0.0f : 1.0f, 1, step < 5 ? 0.5f : 0.0f, 1};
  };
  const auto run_step = [&](Run& run, uint64_t step) {
    if (step == 3 || step == 5) run.optimizer.set_learning_rate_scales(scales(step), step);
    run.write_gradients(static_cast<uint32_t>(step));
    if (step == 1) run.parameters.write(1, kGradient, std::vector<float>(5, kInfinity));
    run.update(step);
  };
  for (uint64_t stop = 0; stop < 8; ++stop) {
    SCOPED_TRACE(stop);
    Run whole(everything), first(everything), second(everything);
    for (Run* run : {&whole, &first}) run->optimizer.set_learning_rate_scales(scales(0), 0);
    for (uint64_t step = 0; step < 8; ++step) {
      run_step(whole, step);
      if (step < stop) run_step(first, step);
    }
    for (size_t p = 0; p < kParameters; ++p) {
      second.parameters.write(p, kValue, first.parameters.read(p, kValue));
      second.optimizer.averages()->write(p, kValue, first.optimizer.averages()->read(p, kValue));
      for (size_t m = 0; m < first.optimizer.moments().size(); ++m) {
        second.optimizer.moments()[m].write(p, kValue,
                                            first.optimizer.moments()[m].read(p, kValue));
      }
    }
    second.optimizer.restore(first.optimizer.progress(stop), stop);
    second.optimizer.set_learning_rate_scales(scales(stop), stop);
    for (uint64_t step = stop; step < 8; ++step) run_step(second, step);
    expect_same(whole, second);
    EXPECT_EQ(whole.averages(), second.averages());
    EXPECT_EQ(whole.optimizer.progress(8).updates, second.optimizer.progress(8).updates);
    EXPECT_EQ(*whole.optimizer.loss_scale(), *second.optimizer.loss_scale());
  }
}

}  // namespace
