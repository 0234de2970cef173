#include "engine/train/training_step.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/to_size.h"
#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/small_training.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr Shape kInput = Training::kInput;
constexpr int kClasses = Training::kClasses;

TrainingStepOptions step_options(DType dtype = DType::f32) {
  TrainingStepOptions options;
  options.dtype = dtype;
  options.seed = 3;
  return options;
}

TEST(TrainingStep, AMarkedStepIsTheSameStep) {
  Training plain(step_options()), marked(step_options());
  Timeline timeline(marked.stream);
  for (uint64_t i = 0; i < 3; ++i) {
    plain.step.run(plain.batch, i, 1e-2f);
    plain.step.finish();
    marked.step.run_marked(marked.batch, i, 1e-2f, timeline);
  }
  EXPECT_EQ(marked.values(), plain.values());

  const std::vector<StepCall> calls = marked.step.calls();
  const std::vector<double> marks = timeline.milliseconds();
  ASSERT_EQ(marks.size(), calls.size() + 1);
  EXPECT_EQ(marks.front(), 0);
  EXPECT_TRUE(std::is_sorted(marks.begin(), marks.end()));
  int64_t flops = 0;
  for (const StepCall& call : calls) {
    flops += call.call.flops;
    EXPECT_GE(call.call.bytes, 0);
  }
  // Forward, weights and data each cost the multiply-adds once; the image wants no gradient.
  const Node& first = marked.graph.nodes().front();
  EXPECT_EQ(flops, 6 * marked.graph.macs() - 2 * marked.graph.macs(first));
}

// As on a GPU, where a batch is prepared while the step before reads the other input.
TEST(TrainingStep, TwoInputsChangeNoBit) {
  for (const int accumulate : {1, 2}) {
    for (const bool cached : {false, true}) {
      TrainingStepOptions options = step_options();
      options.optimizer.accumulate = accumulate;
      Training one(options);
      DeviceCache cache({}, 1 << 20, kInput.n, kInput.h, kInput.w);
      options.inputs = 2;
      if (cached) options.cache = &cache;  // batches are copied to the device
      Training two(options);
      ASSERT_EQ(two.step.plan().inputs(), 2);
      for (int i = 0; i < 6; ++i) {
        for (Training* training : {&one, &two}) {
          // No two batches in a row are the same.
          auto* image = training->batch.images.as<uint8_t>();
          std::rotate(image, image + 3, image + training->batch.images.bytes());
          training->step.run(training->batch, static_cast<uint64_t>(i / accumulate), 1e-2f,
                             {i % accumulate, accumulate});
        }
        EXPECT_EQ(two.step.finish()->loss.total, one.step.finish()->loss.total);
      }
      EXPECT_EQ(two.values(), one.values());
    }
  }
}

TEST(TrainingStep, OverfitsFourImages) {
  for (const DType dtype : cpu_dtypes()) {
    Training training(step_options(dtype), 0.05f);
    const std::vector<float> losses = training.losses(200, 5e-3f);
    EXPECT_GT(losses.front(), 1.0f);
    EXPECT_LT(*std::min_element(losses.end() - 10, losses.end()), 0.1f) << name_of(dtype);
  }
}

TEST(TrainingStep, TheSameSeedGivesTheSameLosses) {
  const std::vector<float> first = Training(step_options()).losses(8, 1e-3f);
  EXPECT_EQ(Training(step_options()).losses(8, 1e-3f), first);
  TrainingStepOptions other = step_options();
  other.seed = 4;
  EXPECT_NE(Training(other).losses(8, 1e-3f), first) << "another dropout";
}

TEST(TrainingStep, ThreadsRepeatThemselves) {
  omp_set_num_threads(2);
  const std::vector<float> first = Training(step_options()).losses(4, 1e-3f);
  const std::vector<float> second = Training(step_options()).losses(4, 1e-3f);
  omp_set_num_threads(1);
  EXPECT_EQ(first, second);
  const std::vector<float> single = Training(step_options()).losses(4, 1e-3f);
  for (size_t i = 0; i < first.size(); ++i) EXPECT_NEAR(first[i], single[i], 1e-5f);
}

TEST(TrainingStep, ReturnsEveryLossOneCallLate) {
  Training training(step_options());
  const std::vector<float> wanted = Training(step_options()).losses(5, 1e-3f);
  EXPECT_FALSE(training.step.finish());
  EXPECT_FALSE(training.step.run(training.batch, 0, 1e-3f));
  for (uint64_t i = 1; i < 4; ++i) {
    const auto result = training.step.run(training.batch, i, 1e-3f);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->step, i - 1);
    EXPECT_EQ(result->loss.total, wanted[i - 1]);
  }
  const auto last = training.step.finish();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->step, 3u);
  EXPECT_EQ(last->loss.total, wanted[3]);
  EXPECT_FALSE(training.step.finish());
  EXPECT_FALSE(training.step.run(training.batch, 4, 1e-3f)) << "the last one was taken already";
  EXPECT_EQ(training.step.finish()->loss.total, wanted[4]);
}

// Without labelled pixels there is no gradient: only weight decay changes anything.
TEST(TrainingStep, DecaysConvolutionWeightsAlone) {
  TrainingStepOptions options = step_options();
  options.optimizer.kind = OptimizerKind::sgd;
  options.optimizer.sgd.momentum = 0;
  options.optimizer.weight_decay = 0.5f;
  Training training(options);
  const auto before = training.values();
  std::vector<uint8_t> ignored(to_size(kInput.pixels()), 255);
  training.batch.labels.data = ignored.data();
  EXPECT_EQ(training.losses(1, 0.1f), std::vector<float>{0.0f});
  const auto after = training.values();
  for (size_t p = 0; p < before.size(); ++p) {
    const ParameterSpec& spec = training.parameters.specs()[p];
    const float factor = spec.role == ParameterRole::conv_weight ? 1 - 0.1f * 0.5f : 1.0f;
    for (size_t i = 0; i < before[p].size(); ++i) {
      ASSERT_NEAR(after[p][i], factor * before[p][i], 1e-7f) << spec.name;
    }
  }
}

TEST(TrainingStep, ProgramsMirrorTheirSamples) {
  const std::vector<bool> mirrored{true, false, false, true};
  Training plain(step_options(), 0), flipped(step_options(), 0), by_hand(step_options(), 0);
  const AugmentLimits limits{.bytes = AugmentBuilder(kInput.h, kInput.w).bytes()};
  std::vector<std::byte> programs(mirrored.size() * limits.bytes);
  for (size_t i = 0; i < mirrored.size(); ++i) {
    AugmentBuilder program(kInput.h, kInput.w);
    if (mirrored[i]) program.mirror();
    program.write(std::span(programs).subspan(i * limits.bytes, limits.bytes));
  }
  flipped.batch.programs = {programs.data(), limits};
  for (const Tensor& t : {by_hand.batch.images, by_hand.batch.labels}) {
    const int width = t.shape.w, channels = t.shape.c;
    for (int row = 0; row < t.shape.n * t.shape.h; ++row) {
      if (!mirrored[to_size(row / t.shape.h)]) continue;
      uint8_t* pixels = t.as<uint8_t>() + row * width * channels;
      for (int x = 0; x < width / 2; ++x) {
        std::swap_ranges(pixels + x * channels, pixels + (x + 1) * channels,
                         pixels + (width - 1 - x) * channels);
      }
    }
  }
  const std::vector<float> losses = flipped.losses(3, 1e-3f);
  EXPECT_EQ(losses, by_hand.losses(3, 1e-3f));
  EXPECT_NE(losses, plain.losses(3, 1e-3f));
}

TEST(TrainingStep, ClassWeightsWeighTheLoss) {
  TrainingStepOptions uniform = step_options();
  uniform.class_weights = {2, 2, 2, 2};
  const float plain = Training(step_options()).losses(1, 1e-3f)[0];
  EXPECT_FLOAT_EQ(Training(uniform).losses(1, 1e-3f)[0], plain) << "a weighted mean";
  TrainingStepOptions uneven = step_options();
  uneven.class_weights = {10, 1, 1, 1};
  EXPECT_NE(Training(uneven).losses(1, 1e-3f)[0], plain);
  TrainingStepOptions too_few = step_options();
  too_few.class_weights = {1, 1};
  EXPECT_THROW(Training{too_few}, std::logic_error);
}

TEST(TrainingStep, ALossScaleChangesNoBit) {
  for (const DType dtype : cpu_dtypes()) {
    TrainingStepOptions scaled = step_options(dtype);
    scaled.loss = make_loss({loss_term("ce"), loss_term("dice")});
    Training plain(scaled);
    scaled.optimizer.loss_scaling = true;
    Training with_scale(scaled);
    EXPECT_EQ(plain.losses(5, 1e-2f), with_scale.losses(5, 1e-2f));
    EXPECT_EQ(plain.values(), with_scale.values());
    EXPECT_EQ(with_scale.step.optimizer().progress(5).gradient.good_steps, 5u);
  }
}

TEST(TrainingStep, AnOverflowOfTheScaledGradientIsOnlySkipped) {
  TrainingStepOptions scaled = step_options();
  scaled.optimizer.loss_scaling = true;
  scaled.loss = make_loss({loss_term("ce", 1e4f)});
  Training training(scaled);
  OptimizerProgress progress = training.step.optimizer().progress(0);
  progress.gradient.loss_scale = 0x1p127f;
  training.step.optimizer().restore(progress, 0);
  const auto before = training.values();
  const float loss = training.losses(1, 1e-2f)[0];
  EXPECT_TRUE(std::isfinite(loss)) << "the loss itself is not scaled";
  EXPECT_EQ(training.values(), before);
  progress = training.step.optimizer().progress(1);
  EXPECT_EQ(progress.gradient.loss_scale, 0x1p126f);
  EXPECT_EQ(progress.gradient.skipped, 1u);
  EXPECT_EQ(progress.updates[0], 0u);
}

/// `training` on the batches [first, first + count) of its batch's samples, as one step.
void accumulated_step(Training& training, const std::vector<Batch>& batches, uint64_t step,
                      float lr) {
  const auto count = static_cast<int64_t>(batches.size());
  for (int64_t i = 0; i < count; ++i) {
    training.step.run(batches[to_size(i)], step, lr, {i, count});
  }
  const auto last = training.step.finish();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->step, step);
  EXPECT_EQ(last->batch.index, count - 1);
  EXPECT_TRUE(last->batch.last());
}

TEST(TrainingStep, TheSameBatchTwiceIsThatBatch) {
  for (const OptimizerKind kind : {OptimizerKind::adamw, OptimizerKind::sgd}) {
    TrainingStepOptions options = step_options();
    options.optimizer.kind = kind;
    Training once(options, 0);
    options.optimizer.accumulate = 2;
    Training twice(options, 0);
    once.losses(3, 1e-2f);
    for (uint64_t step = 0; step < 3; ++step) {
      accumulated_step(twice, {twice.batch, twice.batch}, step, 1e-2f);
    }
    EXPECT_EQ(once.values(), twice.values()) << "(g + g) / 2 is g, to the last bit";
  }
}

// A mean over pixels is the mean of two halves with as many labelled pixels.
TEST(TrainingStep, TwoHalfBatchesAreAWholeOne) {
  TrainingStepOptions options = step_options();
  options.optimizer.kind = OptimizerKind::sgd;
  Training whole(options, 0);
  const Shape half{kInput.n / 2, kInput.h, kInput.w, 3};
  auto* labels = whole.batch.labels.as<uint8_t>();
  std::replace(labels, labels + kInput.pixels(), uint8_t{255}, uint8_t{0});
  std::vector<Batch> halves(2, whole.batch);
  for (size_t i = 0; i < 2; ++i) {
    Batch& batch = halves[i];
    batch.n = half.n;
    batch.images =
        Tensor(whole.batch.images.as<uint8_t>() + static_cast<int64_t>(i) * half.elements(), half,
               DType::u8);
    batch.labels = Tensor(labels + static_cast<int64_t>(i) * half.pixels(),
                          {half.n, half.h, half.w, 1}, DType::u8);
  }
  options.optimizer.accumulate = 2;
  const Graph graph = small_unet(half, kClasses, 0);
  DeviceContext context;
  Parameters parameters(graph.parameters(), context.stream, true);
  parameters.initialize(7);
  TrainingStep step(graph, parameters, context, options);
  const std::vector<float> losses = whole.losses(3, 0.1f);
  for (uint64_t i = 0; i < 3; ++i) {
    float sum = 0;
    for (const int64_t k : {0, 1}) {
      step.run(halves[to_size(k)], i, 0.1f, {k, 2});
      sum += step.finish()->loss.total;
    }
    EXPECT_NEAR(sum / 2, losses[i], 1e-5f);
  }
  const auto expected = whole.values();
  double moved = 0;
  for (size_t p = 0; p < parameters.size(); ++p) {
    const std::vector<float> values = parameters.read(p, Parameters::Field::value);
    const std::vector<float> initial = initial_values(parameters.specs()[p], 7);
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(values[i], expected[p][i], 1e-5f) << parameters.specs()[p].name;
      moved = std::max(moved, static_cast<double>(std::abs(values[i] - initial[i])));
    }
  }
  EXPECT_GT(moved, 1e-3) << "the comparison means something";
}

TEST(TrainingStep, RefusesMoreBatchesAStepThanItWasMadeFor) {
  Training training(step_options());
  EXPECT_THROW(training.step.run(training.batch, 0, 1e-3f, {0, 2}), std::logic_error);
}

TEST(TrainingStep, RefusesABatchOfAnotherShape) {
  Training training(step_options());
  training.batch.images.shape.w /= 2;
  EXPECT_THROW(training.step.run(training.batch, 0, 1e-3f), std::logic_error);
}

TEST(TrainingStep, SeesParametersChangedFromOutsideAfterPacking) {
  Training training(step_options(), 0), fresh(step_options(), 0);
  const float first = fresh.losses(1, 0)[0];
  for (size_t p = 0; p < training.parameters.size(); ++p) {
    const size_t count = training.values()[p].size();
    training.parameters.write(p, Parameters::Field::value, std::vector<float>(count, 0.0f));
  }
  training.step.pack_weights();
  const float uniform = training.losses(1, 0)[0];
  EXPECT_NEAR(uniform, std::log(static_cast<float>(kClasses)), 1e-6f);
  EXPECT_NE(uniform, first);
}

}  // namespace
