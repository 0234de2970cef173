// A training step with a teacher, against plans and reference ops that know nothing of each other.

#include "engine/train/teacher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/to_size.h"
#include "kernels/reference/reference_ops.h"
#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/plan_runner.h"
#include "tests/engine/small_training.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

constexpr Shape kInput = Training::kInput;
constexpr int kClasses = Training::kClasses;

Normalization teachers_normalization() {
  return {.mean = {100, 110, 120}, .std = {60, 50, 40}, .range = 255, .bgr = true};
}

/// A network of batch norms unless another is given, "trained".
class TeacherNetwork {
 public:
  explicit TeacherNetwork(Graph network = small_resnet(kInput, kClasses))
      : place_(on_device(Device{})),
        graph(std::move(network)),
        parameters(graph.parameters(), place_->stream, false) {
    set_hashed_values(parameters);
  }

  TeacherOptions options(float weight = 3, float temperature = 4) {
    return {graph,
            &parameters,
            teachers_normalization(),
            {.weight = weight, .temperature = temperature}};
  }

 private:
  std::shared_ptr<DeviceContext> place_;

 public:
  Graph graph;
  Parameters parameters;
};

TrainingStepOptions step_options(std::optional<TeacherOptions> teacher = {}) {
  TrainingStepOptions options;
  options.seed = 3;
  options.loss = make_loss({loss_term("ce"), loss_term("dice")});
  options.optimizer.kind = OptimizerKind::sgd;
  options.teacher = std::move(teacher);
  return options;
}

StepResult result_of(Training& training, float lr = 0) {
  training.step.run(training.batch, 0, lr);
  return training.step.finish().value();
}

/// What an inference plan makes of the batch.
std::vector<float> prediction_of(const Graph& graph, Parameters& parameters, const Batch& batch,
                                 const Normalization& normalization) {
  const auto place = on_device(Device{});
  Plan plan(graph, parameters, *place, {});
  plan.pack_weights();
  place->ops.augment->prepare_images(batch.images, false, normalization, plan.input());
  plan.forward();
  return scores_of(plan);
}

/// The reference's value, of the first `images` images.
float distillation_of(std::vector<float> student, std::vector<float> teacher, uint64_t images,
                      const DistillDesc& wanted) {
  const Shape shape{kInput.n, kInput.h, kInput.w, kClasses};
  DistillDesc desc = wanted;
  desc.images = &images;
  float value = 0;
  make_reference_ops().distill->run(desc, Tensor(student.data(), shape, DType::f32),
                                    Tensor(teacher.data(), shape, DType::f32), {}, &value, nullptr);
  return value;
}

TEST(Teacher, AddsTheDistillationOfItsScores) {
  for (const bool with_heads : {false, true}) {
    TeacherNetwork network(with_heads ? small_auxiliary(kInput, kClasses)
                                      : small_resnet(kInput, kClasses));
    const TeacherOptions options = network.options(2, 3);
    for (const int images : {kInput.n, kInput.n - 1}) {  // the last is padding
      Training training(step_options(options), 0), plain(step_options(), 0);
      training.batch.n = plain.batch.n = images;
      const float expected = distillation_of(
          prediction_of(training.graph, training.parameters, training.batch, Normalization()),
          prediction_of(network.graph, network.parameters, training.batch, options.normalization),
          to_size(images), options.distill);
      const StepResult result = result_of(training), without = result_of(plain);
      EXPECT_GT(expected, 0.01f);
      EXPECT_NEAR(result.teacher, expected, 1e-4f * expected);
      EXPECT_EQ(result.auxiliary, 0) << "its heads are for its own training";
      EXPECT_EQ(without.teacher, 0);
      EXPECT_FLOAT_EQ(result.loss.total, without.loss.total + result.teacher);
      EXPECT_EQ(result.loss.terms[0], without.loss.terms[0]);
    }
  }
}

/// The gradients of all parameters, one after the other.
std::vector<float> gradient_of(const Training& training) {
  std::vector<float> all;
  for (size_t p = 0; p < training.parameters.size(); ++p) {
    if (!training.parameters.specs()[p].trainable()) continue;
    const std::vector<float> one = training.parameters.read(p, Parameters::Field::gradient);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

/// The loss with the parameters moved along `direction`.
double loss_at(Training& training, const std::vector<float>& direction, float step) {
  const std::vector<std::vector<float>> values = training.values();
  size_t at = 0;
  for (size_t p = 0; p < values.size(); ++p) {
    if (!training.parameters.specs()[p].trainable()) continue;
    std::vector<float> moved = values[p];
    for (float& value : moved) value += step * direction[at++];
    training.parameters.write(p, Parameters::Field::value, moved);
  }
  training.step.pack_weights();
  const double loss = static_cast<double>(result_of(training).loss.total);
  for (size_t p = 0; p < values.size(); ++p) {
    training.parameters.write(p, Parameters::Field::value, values[p]);
  }
  training.step.pack_weights();
  return loss;
}

TEST(Teacher, GradientsAreThoseOfTheWholeLoss) {
  TeacherNetwork network;
  Training training(step_options(network.options(20, 2)), 0), plain(step_options(), 0);
  result_of(training);
  result_of(plain);
  const std::vector<float> gradient = gradient_of(training);
  EXPECT_GT(distance(gradient, gradient_of(plain)), 0.5 * norm(gradient))
      << "most is the teacher's";
  std::vector<float> hashed(gradient.size());
  for (size_t i = 0; i < hashed.size(); ++i) {
    hashed[i] = hashed_uniform(5, static_cast<uint32_t>(i), 1);
  }
  for (std::vector<float> direction : {gradient, hashed}) {
    const auto length = static_cast<float>(norm(direction));
    for (float& value : direction) value /= length;
    const float step = 1e-2f;
    const double slope =
        (loss_at(training, direction, step) - loss_at(training, direction, -step)) /
        (2 * static_cast<double>(step));
    const double expected =
        std::inner_product(direction.begin(), direction.end(), gradient.begin(), 0.0);
    EXPECT_NEAR(slope, expected, 0.01 * norm(gradient));
  }
}

TEST(Teacher, TeachesInEveryPrecision) {
  TeacherNetwork network;
  std::vector<float> lasts;
  for (const DType dtype : cpu_dtypes()) {
    TrainingStepOptions options = step_options(network.options());
    options.dtype = dtype;
    options.optimizer.kind = OptimizerKind::adamw;
    Training training(options, 0);
    const float first = result_of(training).teacher;
    training.losses(60, 5e-3f);
    lasts.push_back(result_of(training).teacher);
    EXPECT_LT(lasts.back(), 0.5f * first) << name_of(dtype);
  }
}

TEST(Teacher, ALossScaleChangesNoBit) {
  TeacherNetwork network;
  TrainingStepOptions options = step_options(network.options());
  Training plain(options);
  options.optimizer.loss_scaling = true;
  Training scaled(options);
  EXPECT_EQ(plain.losses(4, 1e-2f), scaled.losses(4, 1e-2f));
  EXPECT_EQ(plain.values(), scaled.values());
}

TEST(Teacher, TheSameBatchTwiceIsThatBatch) {
  TeacherNetwork network;
  TrainingStepOptions options = step_options(network.options());
  Training once(options, 0);
  options.optimizer.accumulate = 2;
  Training twice(options, 0);
  once.losses(3, 1e-2f);
  for (uint64_t step = 0; step < 3; ++step) {
    for (const int64_t k : {0, 1}) twice.step.run(twice.batch, step, 1e-2f, {k, 2});
    twice.step.finish();
  }
  EXPECT_EQ(once.values(), twice.values());
}

// As on a GPU; with a cache, batches are copied to the device, and half of them have programs.
TEST(Teacher, SeesTheBatchOfItsStep) {
  TeacherNetwork network;
  for (const bool programs : {false, true}) {
    TrainingStepOptions options = step_options(network.options());
    Training one(options);
    DeviceCache cache({}, 1 << 20, kInput.n, kInput.h, kInput.w);
    options.inputs = 2;
    options.cache = &cache;
    Training two(options);
    const AugmentLimits limits{.bytes = AugmentBuilder(kInput.h, kInput.w).bytes()};
    std::vector<std::byte> mirrors(to_size(kInput.n) * limits.bytes);
    for (size_t i = 0; i < to_size(kInput.n); ++i) {
      AugmentBuilder program(kInput.h, kInput.w);
      if (i % 2 == 0) program.mirror();
      program.write(std::span(mirrors).subspan(i * limits.bytes, limits.bytes));
    }
    for (int i = 0; i < 5; ++i) {
      for (Training* training : {&one, &two}) {
        auto* image = training->batch.images.as<uint8_t>();
        std::rotate(image, image + 3, image + training->batch.images.bytes());
        if (programs && i % 2 == 1) training->batch.programs = {mirrors.data(), limits};
        training->step.run(training->batch, static_cast<uint64_t>(i), 1e-2f);
        training->batch.programs = {};
      }
      const StepResult first = one.step.finish().value(), second = two.step.finish().value();
      EXPECT_EQ(second.loss.total, first.loss.total);
      EXPECT_EQ(second.teacher, first.teacher);
    }
    EXPECT_EQ(two.values(), one.values());
  }
}

TEST(Teacher, StaysWhenParametersAreFrozen) {
  TeacherNetwork network;
  Training training(step_options(network.options()), 0);
  const float before = result_of(training).teacher;
  std::vector<bool> frozen(training.parameters.size());
  std::fill_n(frozen.begin(), frozen.size() / 2, true);
  training.step.freeze(frozen);
  EXPECT_EQ(result_of(training).teacher, before);
}

TEST(Teacher, IsPartOfAMarkedStep) {
  TeacherNetwork network;
  Training plain(step_options(network.options())), marked(step_options(network.options()));
  Timeline timeline(marked.stream);
  for (uint64_t i = 0; i < 3; ++i) {
    plain.step.run(plain.batch, i, 1e-2f);
    plain.step.finish();
    marked.step.run_marked(marked.batch, i, 1e-2f, timeline);
  }
  EXPECT_EQ(marked.values(), plain.values());
  const std::vector<StepCall> calls = marked.step.calls();
  EXPECT_EQ(timeline.milliseconds().size(), calls.size() + 1);
  const auto teachers = std::ranges::count(calls, "teacher", &StepCall::pass);
  EXPECT_GT(teachers, 3);
  Training alone(step_options());
  EXPECT_EQ(static_cast<int64_t>(alone.step.calls().size()) + teachers,
            static_cast<int64_t>(calls.size()));
  EXPECT_GT(marked.step.bytes(), alone.step.bytes());
}

TEST(Teacher, HasTheStudentsShape) {
  TeacherNetwork network(small_resnet(kInput, kClasses + 1));
  EXPECT_THROW(Training{step_options(network.options())}, std::logic_error);
  TeacherNetwork smaller(small_resnet({kInput.n, kInput.h / 2, kInput.w, 3}, kClasses));
  EXPECT_THROW(Training{step_options(smaller.options())}, std::logic_error);
}

TEST(Plan, ScoresMayBeKept) {
  Stream stream;
  for (const auto network : {small_resnet, small_auxiliary}) {
    const Graph graph = network(kInput, kClasses);
    PlanOptions options;
    options.mode = Mode::train;
    options.loss = LossDesc{};
    PlanRunner plain(graph, make_ops(stream), options);
    options.keeps_scores = true;
    PlanRunner keeps(graph, make_ops(stream), options);
    EXPECT_EQ(keeps.run(7, 3).total, plain.run(7, 3).total);
    for (size_t p = 0; p < graph.parameters().size(); ++p) {
      if (!graph.parameters()[p].trainable()) continue;
      EXPECT_EQ(keeps.parameters().read(p, Parameters::Field::gradient),
                plain.parameters().read(p, Parameters::Field::gradient));
    }
    keeps.put(7);
    keeps.plan().forward();
    const std::vector<float> scores = scores_of(keeps.plan());
    std::vector<LossValues> values(to_size(keeps.plan().outputs()));
    keeps.plan().loss({}, values.data());
    EXPECT_EQ(scores_of(keeps.plan()), scores);
    EXPECT_NE(keeps.plan().output_gradient().data, keeps.plan().output().data);
  }
}

}  // namespace
