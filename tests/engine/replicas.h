#pragma once
// Predictors on streams of their own, which share packed weights and are warm.

#include <memory>
#include <span>
#include <vector>

#include "engine/infer/predictor.h"

namespace macadam::testing {

class Replicas {
 public:
  Replicas(size_t count, std::span<const Graph> graphs, Parameters& parameters, Device device,
           PredictorOptions options) {
    PackedWeights weights(parameters, options.dtype, device);
    options.weights = &weights;
    for (size_t i = 0; i < count; ++i) {
      all_.push_back(std::make_unique<Replica>(graphs, parameters, device, options));
      all_.back()->predictor.warm_up();
    }
  }

  Predictor& operator[](size_t i) { return all_.at(i)->predictor; }
  size_t bytes() const {
    std::set<const Buffer*> memory;
    for (const auto& replica : all_) replica->predictor.add_memory(memory);
    return bytes_of(memory);
  }

 private:
  struct Replica {
    Replica(std::span<const Graph> graphs, Parameters& parameters, Device device,
            const PredictorOptions& options)
        : context(device), predictor(graphs, parameters, context, options) {}
    DeviceContext context;
    Predictor predictor;
  };
  std::vector<std::unique_ptr<Replica>> all_;
};

}  // namespace macadam::testing
