// Training on a CUDA device against the same on the CPU, and against itself where every bit must be
// the same: steps, and batches on their way to the device.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/to_size.h"
#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/device_cases.h"
#include "tests/engine/loader_slot.h"
#include "tests/engine/small_training.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

using Place = std::shared_ptr<DeviceContext>;
using Values = std::vector<std::vector<float>>;  // by parameter

Graph unet_without_dropout(Shape input, int classes) { return small_unet(input, classes, 0); }

/// Each within `tolerance` of what is wanted, relatively.
void expect_same_losses(const std::vector<float>& got, const std::vector<float>& wanted,
                        double tolerance) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const auto loss = static_cast<double>(wanted[i]);
    EXPECT_NEAR(static_cast<double>(got[i]), loss, tolerance * loss) << "step " << i;
  }
}

// ---- training steps

constexpr int kSteps = 6;  // two inputs: each is read eagerly, then captured, then replayed

TrainingStepOptions step_options(OptimizerKind kind, DType dtype = DType::f32) {
  TrainingStepOptions options;
  options.dtype = dtype;
  options.seed = 3;
  options.loss = make_loss({loss_term("ce"), loss_term("dice")});
  options.optimizer.kind = kind;
  return options;
}

float rate_of(OptimizerKind kind) { return kind == OptimizerKind::sgd ? 0.02f : 2e-3f; }

struct Trained {
  std::vector<float> losses;
  Values values;

  bool operator==(const Trained&) const = default;
};

class CudaTraining : public CudaTest {
 protected:
  static Graph graph(const Network& network) {
    return network.build(Training::kInput, Training::kClasses);
  }
  static Trained train(const Place& place, const Graph& network,
                       const TrainingStepOptions& options) {
    Training training(options, network, place);
    std::vector<float> losses = training.losses(kSteps, rate_of(options.optimizer.kind));
    return {std::move(losses), training.values()};
  }

  /// What each parameter was moved by, up to `tolerance` of that; where a parameter hardly has a
  /// gradient, up to that of the one that was moved furthest.
  static void expect_same_values(const Graph& network, const Values& got, const Values& wanted,
                                 double tolerance) {
    const std::vector<ParameterSpec>& specs = network.parameters();
    std::vector<double> moved;
    for (size_t p = 0; p < specs.size(); ++p) {
      moved.push_back(distance(wanted[p], initial_values(specs[p], Training::kSeed)));
    }
    const double furthest = *std::max_element(moved.begin(), moved.end());
    EXPECT_GT(furthest, 1e-2) << "the comparison means something";
    for (size_t p = 0; p < specs.size(); ++p) {
      const double error = distance(got[p], wanted[p]);
      EXPECT_TRUE(error <= tolerance * (moved[p] + 0.01 * furthest))
          << specs[p].name << ": " << error << ", moved by " << moved[p];
    }
  }
};

TEST_F(CudaTraining, SgdTrainsAsOnTheCpu) {
  const TrainingStepOptions options = step_options(OptimizerKind::sgd);
  for (const Network& network : kNetworks) {
    SCOPED_TRACE(network.name);
    const Trained cpu = train(on_cpu(), graph(network), options);
    const Trained cuda = train(cuda_, graph(network), options);
    expect_same_losses(cuda.losses, cpu.losses, 1e-4);
    expect_same_values(graph(network), cuda.values, cpu.values, 1e-3);
  }
}

// Another network, in its own normalization; in bf16 the scores are padded.
TEST_F(CudaTraining, ATeacherTeachesAsOnTheCpu) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    if (dtype == DType::bf16 && !cpu_has_bf16()) continue;
    SCOPED_TRACE(name_of(dtype));
    const Graph network = graph({"unet", unet_without_dropout});
    const auto taught = [&](const Place& place) {
      const Graph big = graph({"resnet", small_resnet});
      Parameters parameters(big.parameters(), place->stream, false);
      set_hashed_values(parameters);
      TrainingStepOptions options = step_options(OptimizerKind::sgd, dtype);
      options.teacher = {big,
                         &parameters,
                         {.mean = {90, 90, 90}, .std = {60, 50, 40}, .range = 255},
                         {.temperature = 2}};
      return train(place, network, options);
    };
    const Trained cpu = taught(on_cpu()), cuda = taught(cuda_);
    expect_same_losses(cuda.losses, cpu.losses, dtype == DType::f32 ? 1e-4 : 0.02);
    if (dtype == DType::f32) expect_same_values(network, cuda.values, cpu.values, 1e-3);
  }
}

// AdamW moves a parameter that has no gradient but rounding errors as far as any other: only the
// network without batch norm has no such parameters.
TEST_F(CudaTraining, AdamWTrainsAsOnTheCpu) {
  const TrainingStepOptions options = step_options(OptimizerKind::adamw);
  const Graph network = graph(kNetworks[0]);
  const Trained cpu = train(on_cpu(), network, options);
  const Trained cuda = train(cuda_, network, options);
  expect_same_losses(cuda.losses, cpu.losses, 1e-4);
  expect_same_values(network, cuda.values, cpu.values, 1e-3);
}

TEST_F(CudaTraining, PaddedTensorsTrainAsOnTheCpu) {
  TrainingStepOptions options = step_options(OptimizerKind::sgd);
  for (const Network& network : kNetworks) {
    SCOPED_TRACE(network.name);
    options.pad_channels = false;
    const Trained cpu = train(on_cpu(), graph(network), options);
    options.pad_channels = true;
    const Trained cuda = train(cuda_, graph(network), options);
    expect_same_losses(cuda.losses, cpu.losses, 1e-4);
    expect_same_values(graph(network), cuda.values, cpu.values, 1e-3);
  }
}

TEST_F(CudaTraining, EveryOptionWorksAsOnTheCpu) {
  TrainingStepOptions options = step_options(OptimizerKind::sgd);
  options.class_weights = {1, 3, 0.5f, 2};
  options.loss = make_loss({loss_term("ce", 1, std::array{0.1f}), loss_term("dice")});
  options.optimizer.clip_norm = 0.1f;
  options.optimizer.weight_decay = 0.1f;
  options.optimizer.ema = 0.9f;
  options.optimizer.loss_scaling = true;
  options.optimizer.sgd.nesterov = true;
  options.normalization = {{0.4f, 0.5f, 0.6f}, {0.3f, 0.2f, 0.25f}, 1, true};
  const Graph network = graph(kNetworks[0]);
  struct Result {
    Trained trained;
    Values averages;
    float gradient_norm = 0;
  };
  const auto result = [&](const Place& place) {
    Training training(options, network, place);
    Trained trained{training.losses(kSteps, 0.2f), {}};
    // The first half is frozen: another plan, with the same optimiser.
    std::vector<bool> frozen(training.parameters.size());
    std::fill_n(frozen.begin(), frozen.size() / 2, true);
    std::vector<float> scales;
    for (const bool f : frozen) scales.push_back(f ? 0.0f : 0.5f);
    training.step.optimizer().set_learning_rate_scales(scales, kSteps);
    training.step.freeze(frozen);
    for (int i = kSteps; i < 2 * kSteps; ++i) {
      training.step.run(training.batch, static_cast<uint64_t>(i), 0.2f);
      trained.losses.push_back(training.step.finish()->loss.total);
    }
    trained.values = training.values();
    Optimizer& optimizer = training.step.optimizer();
    return Result{std::move(trained), Training::values_of(*optimizer.averages()),
                  optimizer.progress(2 * kSteps).gradient.norm};
  };
  const Result cpu = result(on_cpu()), cuda = result(cuda_);
  EXPECT_GT(cpu.gradient_norm, options.optimizer.clip_norm) << "clipping means something";
  EXPECT_NEAR(cuda.gradient_norm, cpu.gradient_norm, 1e-3f * cpu.gradient_norm);
  expect_same_losses(cuda.trained.losses, cpu.trained.losses, 1e-4);
  expect_same_values(network, cuda.trained.values, cpu.trained.values, 1e-3);
  expect_same_values(network, cuda.averages, cpu.averages, 1e-3);
}

TEST_F(CudaTraining, Bf16IsNearFp32OnTheCpu) {
  for (const Network& network : kNetworks) {
    SCOPED_TRACE(network.name);
    const Trained cpu = train(on_cpu(), graph(network), step_options(OptimizerKind::sgd));
    const Trained cuda =
        train(cuda_, graph(network), step_options(OptimizerKind::sgd, DType::bf16));
    expect_same_losses(cuda.losses, cpu.losses, 5e-3);
    double error = 0, moved = 0;
    const std::vector<ParameterSpec> specs = graph(network).parameters();
    for (size_t p = 0; p < specs.size(); ++p) {
      if (!specs[p].trainable()) continue;
      error += std::pow(distance(cuda.values[p], cpu.values[p]), 2);
      moved += std::pow(distance(cpu.values[p], initial_values(specs[p], Training::kSeed)), 2);
    }
    EXPECT_LT(std::sqrt(error), 0.1 * std::sqrt(moved));
  }
}

TEST_F(CudaTraining, Fp16LearnsWithItsLossScale) {
  constexpr int kCount = 12;
  Training training(step_options(OptimizerKind::adamw, DType::f16),
                    graph({"unet", unet_without_dropout}), cuda_);
  const std::vector<float> losses = training.losses(kCount, 5e-3f);
  for (const float loss : losses) EXPECT_TRUE(std::isfinite(loss));
  EXPECT_LT(losses.back(), 0.9f * losses.front());
  const GradientState gradient = training.step.optimizer().progress(kCount).gradient;
  EXPECT_GT(gradient.loss_scale, 1);
  EXPECT_LE(gradient.skipped, static_cast<uint32_t>(kCount) / 2);
  for (const std::vector<float>& values : training.values()) {
    for (const float v : values) ASSERT_TRUE(std::isfinite(v));
  }
}

TEST_F(CudaTraining, TheSameRunHasTheSameBits) {
  for (const Network& network : kNetworks) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(std::string(network.name) + " " + std::string(name_of(dtype)));
      const TrainingStepOptions options = step_options(OptimizerKind::adamw, dtype);
      const Trained first = train(cuda_, graph(network), options);
      EXPECT_EQ(train(cuda_, graph(network), options), first);
    }
  }
}

// The next batch comes into one input while the step reads the other.
TEST_F(CudaTraining, TwoInputsChangeNoBit) {
  for (const int accumulate : {1, 2}) {
    TrainingStepOptions options = step_options(OptimizerKind::adamw);
    options.optimizer.accumulate = accumulate;
    std::vector<Trained> found;
    for (const int inputs : {1, 2}) {
      options.inputs = inputs;
      Training training(options, graph(kNetworks[0]), cuda_);
      Trained trained;
      const auto note = [&](const std::optional<StepResult>& result) {
        if (result) trained.losses.push_back(result->loss.total);
      };
      auto* image = training.batch.images.as<uint8_t>();
      for (int i = 0; i < 2 * kSteps; ++i) {
        // No two batches in a row are the same, and none is waited for.
        std::rotate(image, image + 3, image + training.batch.images.bytes());
        note(training.step.run(training.batch, static_cast<uint64_t>(i / accumulate), 1e-2f,
                               {i % accumulate, accumulate}));
      }
      note(training.step.finish());
      trained.values = training.values();
      EXPECT_EQ(trained.losses.size(), to_size(2 * kSteps));
      found.push_back(std::move(trained));
    }
    EXPECT_EQ(found[0], found[1]);
  }
}

TEST_F(CudaTraining, AReplayedStepIsTheSameAsOneCallByCall) {
  for (const Network& network : kNetworks) {
    SCOPED_TRACE(network.name);
    const TrainingStepOptions options = step_options(OptimizerKind::adamw);
    Training replayed(options, graph(network), cuda_), called(options, graph(network), cuda_),
        mixed(options, graph(network), cuda_);
    Timeline timeline(called.stream);
    for (uint64_t i = 0; i < kSteps + 2; ++i) {
      replayed.step.run(replayed.batch, i, 2e-3f);
      called.step.run_marked(called.batch, i, 2e-3f, timeline);
      if (i % 3 == 1) {
        mixed.step.run_marked(mixed.batch, i, 2e-3f, timeline);
      } else {
        mixed.step.run(mixed.batch, i, 2e-3f);
        mixed.step.finish();
      }
    }
    replayed.step.finish();
    const Values wanted = replayed.values();
    EXPECT_EQ(called.values(), wanted);
    EXPECT_EQ(mixed.values(), wanted);
  }
}

TEST_F(CudaTraining, TheSameBatchTwiceIsThatBatch) {
  for (const OptimizerKind kind : {OptimizerKind::adamw, OptimizerKind::sgd}) {
    TrainingStepOptions options = step_options(kind);
    const Graph network = graph({"unet", unet_without_dropout});
    Training once(options, network, cuda_);
    options.optimizer.accumulate = 2;
    Training twice(options, network, cuda_);
    for (uint64_t step = 0; step < kSteps; ++step) {
      once.step.run(once.batch, step, rate_of(kind));
      twice.step.run(twice.batch, step, rate_of(kind), {0, 2});
      twice.step.run(twice.batch, step, rate_of(kind), {1, 2});
    }
    EXPECT_EQ(twice.step.finish()->loss.total, once.step.finish()->loss.total);
    EXPECT_EQ(twice.values(), once.values()) << "(g + g) / 2 is g, to the last bit";
  }
}

// ---- batches on their way to the device

enum class Feed : uint8_t { plain, programs };

class CudaBatches : public CudaTest, public ::testing::WithParamInterface<Feed> {
 protected:
  static constexpr Shape kBatch{2, 12, 16, 3};
  static constexpr int kSamples = 6, kEpochs = 3;
  static constexpr size_t kSampleBytes = 4 * 12 * 16;

  /// Losses of some epochs. Nothing waits for the device, and batches are overwritten as soon as
  /// run() returns: by the source, or with `pinned` in the slot that they lie in. What the cache
  /// holds is not in the batch.
  static std::vector<float> losses(const Place& place, bool pinned, DeviceCache* cache) {
    const Graph graph = small_unet(kBatch, Training::kClasses, 0.1f);
    Parameters parameters(graph.parameters(), place->stream, true);
    parameters.initialize(5);
    TrainingStepOptions options = step_options(OptimizerKind::adamw);
    options.cache = cache;
    TrainingStep step(graph, parameters, *place, options);
    MemorySource source(kSamples, kBatch, Training::kClasses, 2);
    LoaderSlot slot(place->stream.device(), kBatch);
    std::vector<float> all;
    const auto note = [&](const std::optional<StepResult>& result) {
      if (result) all.push_back(result->loss.total);
    };
    uint64_t number = 0;
    for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
      source.start(epoch, 0);
      for (int64_t i = 0; i < source.batches(); ++i) {
        Batch batch = source.next();
        std::vector<std::byte> programs(to_size(kBatch.n) * kProgramLimits.bytes);
        if (GetParam() == Feed::programs) batch.programs = write_programs(batch, programs);
        const std::vector<uint8_t> cached = take_out(batch, cache);
        batch.cached = cached.data();
        note(step.run(pinned ? slot.fill(batch) : batch, number++, 1e-2f));
        if (pinned) slot.refill();
      }
    }
    note(step.finish());
    return all;
  }

 private:
  static AugmentPrograms write_programs(const Batch& batch, std::vector<std::byte>& memory) {
    for (size_t i = 0; i < batch.samples.size(); ++i) {
      const auto key = static_cast<uint32_t>(batch.samples[i] + 7 * batch.epoch);
      program(key, kBatch.h, kBatch.w)
          .write({memory.data() + i * kProgramLimits.bytes, kProgramLimits.bytes});
    }
    return {memory.data(), kProgramLimits};
  }
  /// Spoils what the cache holds; Batch::cached.
  static std::vector<uint8_t> take_out(const Batch& batch, const DeviceCache* cache) {
    std::vector<uint8_t> cached(batch.samples.size());
    for (size_t i = 0; cache != nullptr && i < cached.size(); ++i) {
      if (!cache->holds(batch.samples[i])) continue;
      cached[i] = 1;
      const auto pixels = to_size(kBatch.h * kBatch.w);
      std::fill_n(batch.images.as<uint8_t>() + i * 3 * pixels, 3 * pixels, uint8_t{99});
      std::fill_n(batch.labels.as<uint8_t>() + i * pixels, pixels, uint8_t{255});
    }
    return cached;
  }
};

TEST_P(CudaBatches, MayBeOverwrittenAndCachedAndChangeNoLoss) {
  const std::vector<float> plain = losses(cuda_, false, nullptr);
  expect_same_losses(plain, losses(on_cpu(), false, nullptr), 1e-4);
  EXPECT_EQ(losses(cuda_, true, nullptr), plain) << "pinned";
  for (const int fit : {4, kSamples}) {
    for (const bool pinned : {false, true}) {
      DeviceCache cache(cuda_->stream.device(), to_size(fit) * kSampleBytes, kSamples, kBatch.h,
                        kBatch.w);
      EXPECT_EQ(losses(cuda_, pinned, &cache), plain)
          << fit << " cached" << (pinned ? ", pinned" : "");
      for (int i = 0; i < kSamples; ++i) EXPECT_EQ(cache.holds(i), i < fit);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, CudaBatches, ::testing::Values(Feed::plain, Feed::programs),
                         [](const auto& tested) {
                           return std::string(tested.param == Feed::plain ? "Plain" : "Programs");
                         });

}  // namespace
