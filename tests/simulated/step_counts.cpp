#include "tests/simulated/step_counts.h"

#include <vector>

#include "base/to_size.h"
#include "engine/train/training_step.h"
#include "models/network.h"

namespace macadam::simulated {

StepCounts count_step(const std::string& network, Shape images, DType dtype) {
  const Counting counting;
  const Device device{DeviceKind::cuda, 0};
  StepCounts counts;
  DeviceContext context(device);
  const Graph graph = build_network({network, 8, {}}, images);
  context.ops = counted_ops(context.stream, counts.tallies, graph.parameter_count());
  Parameters parameters(graph.parameters(), context.stream, true);
  TrainingStepOptions options;
  options.dtype = dtype;
  TrainingStep step(graph, parameters, context, options);
  std::vector<uint8_t> pixels(to_size(images.elements()));
  Batch batch;
  batch.images = Tensor(pixels.data(), images, DType::u8);
  batch.labels = Tensor(pixels.data(), {images.n, images.h, images.w, 1}, DType::u8);
  batch.n = images.n;
  counts.tallies.clear();
  const int64_t before = context.stream.launches();
  step.run(batch, 0, 0.001f);
  counts.launches = context.stream.launches() - before;
  return counts;
}

}  // namespace macadam::simulated
