#pragma once
// A small network in training on one batch, on any device.

#include <memory>
#include <vector>

#include "engine/train/training_step.h"
#include "tests/engine/memory_source.h"
#include "tests/engine/on_device.h"
#include "tests/engine/small_networks.h"

namespace macadam::testing {

class Training {
 public:
  static constexpr Shape kInput{4, 16, 16, 3};
  static constexpr int kClasses = 4;
  static constexpr uint64_t kSeed = 7;  // of the initial parameters

  /// A small U-Net with a device to itself.
  explicit Training(const TrainingStepOptions& options, float dropout = 0.2f, Device device = {})
      : Training(options, small_unet(kInput, kClasses, dropout), on_device(device)) {}
  /// Requires a network for kInput that scores kClasses.
  Training(const TrainingStepOptions& options, Graph network, std::shared_ptr<DeviceContext> place)
      : place_(std::move(place)),
        stream(place_->stream),
        graph(std::move(network)),
        parameters(initialized(graph, stream)),
        source(kInput.n, kInput, kClasses, 1),
        step(graph, parameters, *place_, options) {
    source.start(0, 0);
    batch = source.next();
  }

  /// The losses of steps [0, count).
  std::vector<float> losses(int count, float lr) {
    std::vector<float> all;
    for (int i = 0; i < count; ++i) {
      step.run(batch, static_cast<uint64_t>(i), lr);
      all.push_back(step.finish()->loss.total);
    }
    return all;
  }
  std::vector<std::vector<float>> values() const { return values_of(parameters); }

  static std::vector<std::vector<float>> values_of(const Parameters& parameters) {
    std::vector<std::vector<float>> all;
    for (size_t p = 0; p < parameters.size(); ++p) {
      all.push_back(parameters.read(p, Parameters::Field::value));
    }
    return all;
  }

 private:
  static Parameters initialized(const Graph& graph, Stream& stream) {
    Parameters parameters(graph.parameters(), stream, true);
    parameters.initialize(kSeed);
    return parameters;
  }

  std::shared_ptr<DeviceContext> place_;

 public:
  Stream& stream;
  Graph graph;
  Parameters parameters;
  MemorySource source;
  Batch batch;
  TrainingStep step;
};

}  // namespace macadam::testing
