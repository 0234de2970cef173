#include "run/auto_batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <optional>

#include "base/error.h"
#include "base/to_size.h"
#include "engine/graph/one_value_norm.h"
#include "engine/train/fine_tuning.h"
#include "engine/train/training_step.h"
#include "kernels/free_memory.h"
#include "models/network.h"
#include "run/teacher.h"

namespace macadam {

namespace {

constexpr double kShare = 0.7;  // the rest: what libraries take, and other batches in flight
constexpr int kMost = 64;
constexpr size_t kLeastSteps = 8;

/// Of a step of training and one of validation with so many photos.
size_t bytes_of_run(const Config& config, const NetworkSpec& spec, const ModelInfo* teacher,
                    DeviceContext& context, DType dtype, int batch) {
  const Graph graph = build_network(spec, {batch, config.height, config.width, 3});
  Parameters parameters(graph.parameters(), context.stream, true);
  TrainingStepOptions options;
  options.dtype = dtype;
  options.loss = with_classes(config.loss, spec.classes);
  options.optimizer = config.optimizer;
  std::optional<Parameters> of_teacher;
  if (teacher != nullptr) {
    options.teacher = teacher_options(*teacher, config, batch);
    of_teacher.emplace(options.teacher->graph.parameters(), context.stream, false);
    options.teacher->parameters = &*of_teacher;
  }
  TrainingStep step(graph, parameters, context, options);
  PlanOptions validating;
  validating.dtype = dtype;
  validating.loss = options.loss;
  const Plan validation(graph, parameters, context, validating);
  // Scratch that is larger than the arena lies beside it while weights are packed.
  const size_t scratch = validation.weights().workspace_bytes();
  const size_t arena = validation.memory().arena;
  return step.optimizer().bytes() + step.bytes() + (of_teacher ? of_teacher->bytes() : 0) + arena +
         (scratch > arena ? scratch : 0) + validation.memory().packed;
}

}  // namespace

int largest_batch(size_t budget, int most, const std::function<size_t(int batch)>& bytes_of) {
  const size_t one = bytes_of(1);
  if (one > budget) return 0;
  if (most < 2) return 1;
  const size_t two = bytes_of(2);
  if (two > budget) return 1;
  const size_t slope = std::max<size_t>(two - std::min(one, two), 1);
  const size_t fitting = 2 + (budget - two) / slope;
  auto batch = static_cast<int>(std::bit_floor(std::min(fitting, to_size(most))));
  while (batch > 2 && bytes_of(batch) > budget) batch /= 2;
  return batch;
}

int choose_batch(const Config& config, int classes, const ModelInfo* teacher,
                 size_t training_photos, Device device, DType dtype, Observer& observer) {
  find_segmentation_network(config.network);
  const size_t free = free_memory(device);
  const auto budget = static_cast<size_t>(kShare * static_cast<double>(free));
  const NetworkSpec spec{config.network, classes, config.network_options};
  const Graph one = build_network(spec, {1, config.height, config.width, 3});
  const Graph trained = with_frozen_batch_norms(config.fine_tuning, one);
  const int least = norm_of_one_value(trained).empty() ? 1 : 2;
  const auto most = static_cast<int>(
      std::clamp<size_t>(training_photos / kLeastSteps, to_size(least), to_size(kMost)));
  DeviceContext context(device);
  size_t needed = 0;
  const int batch = largest_batch(budget, most, [&](int photos) {
    const size_t bytes = bytes_of_run(config, spec, teacher, context, dtype, photos);
    if (photos <= least || bytes <= budget) needed = bytes;
    return bytes;
  });
  const auto mebibytes = [](size_t bytes) { return bytes >> 20; };
  if (batch < least) {
    throw RunError(fmt::format("{} of {}x{} take{} {} MiB in training, and {} of the {} MiB that "
                               "are free may be taken",
                               batch == 0 ? "a photo" : "two photos, which the network needs,",
                               config.height, config.width, batch == 0 ? "s" : "",
                               mebibytes(needed), mebibytes(budget), mebibytes(free)),
                   "batch = \"auto\"", "train with a smaller size or network");
  }
  observer.on_notice(fmt::format("a batch is of {} photos: {} MiB of the {} MiB that are free",
                                 batch, mebibytes(needed), mebibytes(free)));
  return batch;
}

}  // namespace macadam
