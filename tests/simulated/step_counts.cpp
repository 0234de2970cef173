#include "tests/simulated/step_counts.h"

#include <vector>

#include "engine/train/training_step.h"
#include "models/network.h"

namespace macadam::simulated {

StepCounts count_step(const std::string& network, Shape images, DType dtype) {
  const Counting counting;
  const Device device{DeviceKind::cuda, 0};
  StepCounts counts;
  Stream stream(device);
  const Graph graph = build_network({network, 8, {}}, images);
  Ops ops = counted_ops(stream, counts.tallies, graph.parameter_count());
  Parameters parameters(graph.parameters(), stream, true);
  TrainingStepOptions options;
  options.dtype = dtype;
  TrainingStep step(graph, parameters, stream, ops, options);
  std::vector<uint8_t> pixels(static_cast<size_t>(images.elements()));
  Batch batch;
  batch.images = Tensor(pixels.data(), images, DType::u8);
  batch.labels = Tensor(pixels.data(), {images.n, images.h, images.w, 1}, DType::u8);
  batch.n = images.n;
  counts.tallies.clear();
  const int64_t before = stream.launches();
  step.run(batch, 0, 0.001f);
  counts.launches = stream.launches() - before;
  return counts;
}

}  // namespace macadam::simulated
