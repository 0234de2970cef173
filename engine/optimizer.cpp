#include "engine/optimizer.h"

#include <cmath>

namespace macadam {

Optimizer::Optimizer(const OptimizerOptions& options, Parameters& parameters, Stream& stream,
                     Ops& ops)
    : options_(options),
      parameters_(parameters),
      stream_(stream),
      ops_(ops),
      segment_count_(parameters.segments(options.weight_decay).size()) {
  segments_ = Buffer(stream.device(), segment_count_ * sizeof(ParameterSegment));
  set_learning_rate_scales({});
}

void Optimizer::set_learning_rate_scales(std::span<const float> scales) {
  const std::vector<ParameterSegment> segments =
      parameters_.segments(options_.weight_decay, scales);
  copy_bytes(stream_, segments_.data(), segments.data(), segments_.bytes());
  stream_.synchronize();  // `segments` dies here
}

StepState Optimizer::state(uint64_t step, float lr) const {
  StepState state{step, lr, 1, 1};
  if (options_.kind == OptimizerKind::adamw) {
    const auto t = static_cast<double>(step) + 1;
    state.bias_correction1 =
        static_cast<float>(1 - std::pow(static_cast<double>(options_.adamw.beta1), t));
    state.bias_correction2 =
        static_cast<float>(1 - std::pow(static_cast<double>(options_.adamw.beta2), t));
  }
  return state;
}

void Optimizer::update(const StepState* state) {
  const std::span<const ParameterSegment> segments(
      reinterpret_cast<const ParameterSegment*>(segments_.data()), segment_count_);
  if (options_.kind == OptimizerKind::adamw) {
    ops_.optim->adamw(options_.adamw, parameters_.buffers(), segments, state);
  } else {
    ops_.optim->sgd(options_.sgd, parameters_.buffers(), segments, state);
  }
}

}  // namespace macadam
