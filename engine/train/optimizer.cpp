#include "engine/train/optimizer.h"

#include "base/to_size.h"

namespace macadam {

Optimizer::Optimizer(const OptimizerOptions& options, Parameters& parameters,
                     DeviceContext& context)
    : options_(options),
      parameters_(parameters),
      context_(context),
      segments_(context.device(), parameters.size() * sizeof(ParameterSegment)),
      scales_(parameters.size(), 1.0f),
      updates_(parameters.size(), 0) {
  require(options.accumulate >= 1, "a step takes at least a batch");
  const Tensor values = parameters.flat(Parameters::Field::value);
  const auto bytes = to_size(values.shape.elements()) * sizeof(float);
  if (examines()) {
    gradient_state_ = Buffer(context.device(), sizeof(GradientState));
    workspace_ =
        Buffer(context.device(), context.ops.optim->workspace_bytes(values.shape.elements()));
    GradientState initial;
    if (options.loss_scaling) initial.loss_scale = GradScaler::kInitScale;
    copy_bytes(context.stream, gradient_state_.data(), &initial, sizeof initial);
    context.stream.synchronize();
  }
  if (options.accumulate > 1) gradient_sum_ = Buffer(context.device(), bytes);
  for (size_t m = 0; m < moments_of(options.kind); ++m) {
    moments_.emplace_back(parameters.specs(), context.stream, false);
  }
  if (options.ema > 0) {
    averages_.emplace(parameters.specs(), context.stream, false);
    copy_bytes(context.stream, averages_->flat(Parameters::Field::value).data, values.data, bytes);
  }
  write_segments();
}

void Optimizer::write_segments() {
  std::vector<ParameterSegment> segments = parameters_.segments(options_.weight_decay, scales_);
  for (size_t i = 0; i < segments.size(); ++i) {
    segments[i].missed_updates = run_updates_ - updates_[i];
  }
  copy_bytes(context_.stream, segments_.data(), segments.data(), segments_.bytes());
  context_.stream.synchronize();  // `segments` dies here
}

void Optimizer::set_learning_rate_scales(std::span<const float> scales, uint64_t step) {
  require(scales.size() == scales_.size(), "one scale a parameter");
  restore(progress(step), step);
  scales_.assign(scales.begin(), scales.end());
  write_segments();
}

StepState Optimizer::state(uint64_t step, float lr, int64_t index, int64_t count) const {
  require(0 <= index && index < count && count <= options_.accumulate,
          "a batch of those that make up a step");
  const auto most = static_cast<uint64_t>(options_.accumulate);
  return {.step = step * most + static_cast<uint64_t>(index),
          .update = step,
          .lr = lr,
          .gradient_factor = 1.0f / static_cast<float>(count)};
}

GradientState* Optimizer::gradient_state() const {
  return reinterpret_cast<GradientState*>(gradient_state_.data());
}

const float* Optimizer::loss_scale() const {
  return options_.loss_scaling ? &gradient_state()->loss_scale : nullptr;
}

const float* Optimizer::gradients() const {
  return gradient_sum_ ? reinterpret_cast<const float*>(gradient_sum_.data())
                       : parameters_.flat(Parameters::Field::gradient).as<float>();
}

void Optimizer::add_gradients(bool first) {
  require(static_cast<bool>(gradient_sum_), "a sum of gradients");
  const Tensor batch = parameters_.flat(Parameters::Field::gradient);
  if (first) {
    copy_bytes(context_.stream, gradient_sum_.data(), batch.data, gradient_sum_.bytes());
    return;
  }
  const Tensor sum(gradient_sum_.data(), batch.shape, DType::f32, context_.device());
  context_.ops.elementwise->add(sum, batch, 1, sum, false);
}

void Optimizer::update(const StepState* state) {
  const std::span<const ParameterSegment> segments(
      reinterpret_cast<const ParameterSegment*>(segments_.data()), parameters_.size());
  const auto values = [](const Parameters& parameters) {
    return parameters.flat(Parameters::Field::value).as<float>();
  };
  OptimBuffers buffers;
  buffers.parameters = values(parameters_);
  buffers.gradients = gradients();
  buffers.moment1 = values(moments_[0]);
  if (moments_.size() > 1) buffers.moment2 = values(moments_[1]);
  if (averages_) {
    buffers.averages = values(*averages_);
    buffers.average_decay = options_.ema;
  }
  if (examines()) {
    context_.ops.optim->examine({options_.clip_norm, options_.loss_scaling}, buffers.gradients,
                                segments, state, gradient_state(), workspace_.data());
  }
  if (options_.kind == OptimizerKind::adamw) {
    context_.ops.optim->adamw(options_.adamw, buffers, segments, state, gradient_state());
  } else {
    context_.ops.optim->sgd(options_.sgd, buffers, segments, state, gradient_state());
  }
}

GradientState Optimizer::read_gradient_state() const {
  GradientState state;
  if (!examines()) return state;
  copy_bytes(context_.stream, &state, gradient_state(), sizeof state);
  context_.stream.synchronize();
  return state;
}

size_t Optimizer::bytes() const {
  size_t bytes = parameters_.bytes() + gradient_sum_.bytes();
  for (const Parameters& moment : moments_) bytes += moment.bytes();
  return bytes + (averages_ ? averages_->bytes() : 0);
}

OptimizerProgress Optimizer::progress(uint64_t step) const {
  OptimizerProgress progress{updates_, read_gradient_state()};
  const uint64_t since = step - progress.gradient.skipped - run_updates_;
  for (size_t i = 0; i < updates_.size(); ++i) {
    if (scales_[i] != 0) progress.updates[i] += since;
  }
  return progress;
}

void Optimizer::restore(const OptimizerProgress& progress, uint64_t step) {
  require(progress.updates.size() == updates_.size(), "one count a parameter");
  updates_ = progress.updates;
  run_updates_ = step - progress.gradient.skipped;
  if (examines()) {
    copy_bytes(context_.stream, gradient_state(), &progress.gradient, sizeof progress.gradient);
  }
  write_segments();
}

}  // namespace macadam
