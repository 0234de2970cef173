// Training on the simulated device: whatever the order in which its streams get on, the result is
// one, to the last bit, and the CPU's but for rounding. Batches come from one slot of pinned memory
// that is filled again as soon as run() returns, and nothing else waits for the device.

#include "base/to_size.h"
#include "engine/train/training_step.h"
#include "tests/engine/cpu_dtypes.h"
#include "tests/engine/device_cases.h"
#include "tests/engine/loader_slot.h"
#include "tests/engine/memory_source.h"
#include "tests/engine/on_device.h"
#include "tests/simulated/under_schedules.h"

using namespace macadam;
using namespace macadam::simulated;
using namespace macadam::testing;

namespace {

constexpr Shape kBatch{2, 8, 12, 3};
constexpr int kClasses = 4, kSamples = 6, kSteps = 7;
constexpr uint64_t kSeed = 7;

Graph plain_unet(Shape input, int classes) { return small_unet(input, classes, 0); }

struct Case {
  const char* name;
  Network network = {"unet", unet_with_dropout};
  DType dtype = DType::f32;
  bool programs = false;
  int cached = 0;  // samples that the device's cache has room for
  int accumulate = 1;
  bool freezes = false;  // half of the parameters, after a few steps
  bool marks = false;    // every third step call by call
  bool teacher = false;  // another network, with a normalization of its own
  double tolerance = 1e-3;
  int schedules = 6;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

struct Trained {
  std::vector<float> losses;
  std::vector<float> values;  // of all parameters

  bool operator==(const Trained&) const = default;
};

/// The batches of a run, with the programs and the cache that the case wants.
class Feed {
 public:
  Feed(const Case& wanted, Device device, DeviceCache* cache)
      : wanted_(wanted),
        cache_(cache),
        source_(kSamples, kBatch, kClasses, 2),
        slot_(device, kBatch),
        programs_(to_size(kBatch.n) * kProgramLimits.bytes) {
    source_.start(0, 0);
  }

  /// The next batch, in pinned memory.
  Batch next() {
    if (source_.served() > 0 && source_.served() % source_.batches() == 0) {
      source_.start(source_.served() / source_.batches(), 0);
    }
    Batch batch = source_.next();
    if (wanted_.programs) {
      for (size_t i = 0; i < batch.samples.size(); ++i) {
        const auto key = static_cast<uint32_t>(batch.samples[i] + 7 * batch.epoch);
        program(key, kBatch.h, kBatch.w)
            .write(std::span(programs_).subspan(i * kProgramLimits.bytes, kProgramLimits.bytes));
      }
      batch.programs = {programs_.data(), kProgramLimits};
    }
    batch = slot_.fill(batch);
    if (cache_ != nullptr) take_out(batch);
    return batch;
  }
  /// As the loader does when a slot is released.
  void refill() { slot_.refill(); }

 private:
  /// Leaves rubbish in the place of what the cache holds.
  void take_out(Batch& batch) {
    const auto bytes = to_size(3 * kBatch.h * kBatch.w);
    cached_.assign(batch.samples.size(), 0);
    for (size_t i = 0; i < cached_.size(); ++i) {
      if (!cache_->holds(batch.samples[i])) continue;
      cached_[i] = 1;
      std::fill_n(batch.images.as<uint8_t>() + i * bytes, bytes, uint8_t{99});
    }
    batch.cached = cached_.data();
  }

  const Case& wanted_;
  DeviceCache* cache_;
  MemorySource source_;
  LoaderSlot slot_;
  std::vector<std::byte> programs_;
  std::vector<uint8_t> cached_;
};

Trained train(Device device, const Case& wanted) {
  DeviceContext place(device);
  const Graph graph = wanted.network.build(kBatch, kClasses);
  Parameters parameters(graph.parameters(), place.stream, true);
  parameters.initialize(kSeed);
  DeviceCache cache(device, to_size(wanted.cached * 4 * kBatch.h * kBatch.w), kSamples, kBatch.h,
                    kBatch.w);
  TrainingStepOptions options;
  options.dtype = wanted.dtype;
  options.seed = 3;
  options.loss = make_loss({loss_term("ce"), loss_term("dice")});
  if (wanted.programs) options.class_weights = {1, 2, 0.5f, 1};  // whose upload is waited for
  options.optimizer.kind = OptimizerKind::sgd;
  options.optimizer.accumulate = wanted.accumulate;
  options.optimizer.clip_norm = 1;
  if (wanted.cached > 0) options.cache = &cache;
  const Graph taught_by = small_resnet(kBatch, kClasses);
  Parameters teacher(taught_by.parameters(), place.stream, false);
  if (wanted.teacher) {
    set_hashed_values(teacher);
    options.teacher = {
        taught_by, &teacher, {.mean = {100, 90, 80}, .std = {60, 60, 60}, .range = 255}, {}};
  }
  TrainingStep step(graph, parameters, place, options);
  Timeline timeline(place.stream);
  Feed feed(wanted, device, options.cache);

  Trained trained;
  const auto note = [&](const std::optional<StepResult>& result) {
    if (result) trained.losses.push_back(result->loss.total);
  };
  for (int i = 0; i < kSteps * wanted.accumulate; ++i) {
    const auto number = static_cast<uint64_t>(i / wanted.accumulate);
    if (wanted.freezes && i == 3) {
      note(step.finish());
      std::vector<bool> frozen(parameters.size());
      std::fill_n(frozen.begin(), frozen.size() / 2, true);
      step.freeze(frozen);
    }
    if (wanted.marks && i % 3 == 2) {
      note(step.finish());
      step.run_marked(feed.next(), number, 0.05f, timeline);
    } else {
      note(step.run(feed.next(), number, 0.05f, {i % wanted.accumulate, wanted.accumulate}));
    }
    feed.refill();
  }
  note(step.finish());
  for (size_t p = 0; p < parameters.size(); ++p) {
    const std::vector<float> values = parameters.read(p, Parameters::Field::value);
    trained.values.insert(trained.values.end(), values.begin(), values.end());
  }
  return trained;
}

class SimulatedTraining : public ::testing::TestWithParam<Case> {};

TEST_P(SimulatedTraining, HasOneResultAndItIsTheCpus) {
  const std::vector<Trained> found =
      results_of([] { return train(kGpu, GetParam()); }, GetParam().schedules);
  ASSERT_EQ(found.size(), 1u) << "results that depend on the schedule";
  Case on_cpu = GetParam();
  if (!cpu_has_bf16()) on_cpu.dtype = DType::f32;
  const Trained cpu = train(Device{}, on_cpu);
  expect_near(found[0].losses, cpu.losses, 0.1 * GetParam().tolerance);
  std::vector<float> initial;
  const Graph graph = GetParam().network.build(kBatch, kClasses);
  for (const ParameterSpec& spec : graph.parameters()) {
    const std::vector<float> values = initial_values(spec, kSeed);
    initial.insert(initial.end(), values.begin(), values.end());
  }
  const double moved = distance(cpu.values, initial);
  EXPECT_GT(moved, 0.05) << "the comparison means something";
  EXPECT_LE(distance(found[0].values, cpu.values), GetParam().tolerance * moved);
}

INSTANTIATE_TEST_SUITE_P(
    , SimulatedTraining,
    ::testing::Values(Case{.name = "Plain", .schedules = 12},
                      Case{.name = "Programs", .programs = true, .schedules = 12},
                      Case{.name = "Cached", .cached = 4},
                      Case{.name = "CachedPrograms", .programs = true, .cached = kSamples},
                      Case{.name = "Accumulated", .programs = true, .accumulate = 2},
                      Case{.name = "Frozen", .freezes = true},
                      Case{.name = "Marked", .programs = true, .marks = true},
                      Case{.name = "Teacher", .teacher = true, .schedules = 12},
                      Case{.name = "TeacherAndPrograms",
                           .programs = true,
                           .accumulate = 2,
                           .freezes = true,
                           .teacher = true},
                      Case{.name = "PaddedTeacher",
                           .network = {"unet", plain_unet},
                           .dtype = DType::bf16,
                           .teacher = true,
                           .tolerance = 0.2},
                      Case{.name = "PaddedBf16",
                           .network = {"unet", plain_unet},
                           .dtype = DType::bf16,
                           .tolerance = 0.2},
                      Case{.name = "Dual", .network = {"dual", small_dual}},
                      Case{.name = "EfficientNet",
                           .network = {"efficientnet", small_efficientnet},
                           .programs = true},
                      Case{.name = "Inception", .network = {"inception", small_inception}},
                      Case{.name = "DenseNet", .network = {"densenet", small_densenet}}),
    [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
