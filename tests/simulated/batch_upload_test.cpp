// Batches on their way into a plan, with nobody who waits for the network: many are under way at
// once, and only events keep the upload from what is still read. (A training step waits for the one
// before, an evaluator for each batch: they would hide a missing event.)

#include "engine/input/batch_upload.h"

#include "base/to_size.h"
#include "engine/plan/replay.h"
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
constexpr int kClasses = 4, kBatches = 7;

/// The scores and then the loss of each batch, out of one pinned slot that is filled again at once.
std::vector<float> scores(Device device, DType dtype, int inputs, bool programs) {
  DeviceContext place(device);
  const Graph graph = small_unet(kBatch, kClasses, 0);
  Parameters parameters(graph.parameters(), place.stream, false);
  set_hashed_values(parameters);
  PlanOptions options;
  options.dtype = dtype;
  options.loss = LossDesc{};
  options.inputs = inputs;
  Plan plan(graph, parameters, place, options);
  plan.pack_weights();
  BatchUpload upload(plan, place.stream, {});
  std::vector<Replay> passes(to_size(inputs));
  MemorySource source(kBatches * kBatch.n, kBatch, kClasses, 3);
  source.start(0, 0);
  LoaderSlot slot(device, kBatch);
  std::vector<std::byte> written(to_size(kBatch.n) * kProgramLimits.bytes);

  const Shape shape = plan.output().shape;
  const Buffer dense(device, to_size(shape.elements()) * sizeof(float));
  const Tensor out(dense.data(), shape, DType::f32, device);
  const size_t score_bytes = dense.bytes();
  const Buffer loss(device, sizeof(LossValues));
  const Buffer found = Buffer::host_for(device, kBatches * (score_bytes + sizeof(float)));
  std::byte* next = found.data();
  for (uint32_t i = 0; i < kBatches; ++i) {
    Batch batch = source.next();
    if (programs) {
      batch.programs = {written.data(), kProgramLimits};
      for (uint32_t n = 0; n < 2; ++n) {
        program(2 * i + n, kBatch.h, kBatch.w)
            .write(std::span(written).subspan(n * kProgramLimits.bytes, kProgramLimits.bytes));
      }
    }
    upload.run(slot.fill(batch));
    slot.refill();
    passes[to_size(plan.input_in_use())].run(place.stream, [&] {
      plan.forward();
      place.ops.elementwise->copy(plan.output(), out, false);
      plan.loss({}, reinterpret_cast<LossValues*>(loss.data()));
    });
    copy_bytes(place.stream, next, dense.data(), score_bytes);
    copy_bytes(place.stream, next + score_bytes, loss.data(), sizeof(float));
    next += score_bytes + sizeof(float);
  }
  place.stream.synchronize();
  const auto* first = reinterpret_cast<const float*>(found.data());
  return {first, first + found.bytes() / sizeof(float)};
}

class SimulatedBatchUpload : public ::testing::TestWithParam<bool> {};

TEST_P(SimulatedBatchUpload, KeepsManyBatchesApart) {
  const bool programs = GetParam();
  const std::vector<float> cpu = scores(Device{}, DType::f32, 1, programs);
  // In 16 bits the plan's inputs are padded: it clears them itself, once, on its own stream.
  for (const auto& [dtype, inputs, tolerance] : {std::tuple{DType::f32, 1, 1e-4},
                                                 {DType::f32, 2, 1e-4},
                                                 {DType::f32, 3, 1e-4},
                                                 {DType::bf16, 2, 4e-2}}) {
    SCOPED_TRACE(std::to_string(inputs) + " inputs of " + std::string(name_of(dtype)));
    const auto found = results_of([&] { return scores(kGpu, dtype, inputs, programs); }, 8);
    ASSERT_EQ(found.size(), 1u) << "results that depend on the schedule";
    expect_near(found[0], cpu, tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(, SimulatedBatchUpload, ::testing::Bool(), [](const auto& tested) {
  return std::string(tested.param ? "Programs" : "Plain");
});

}  // namespace
