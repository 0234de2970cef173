#include "engine/train/training_step.h"

#include <algorithm>

#include "base/to_size.h"

namespace macadam {

namespace {

template <typename T>
T* as(const Buffer& buffer) {
  return reinterpret_cast<T*>(buffer.data());
}

OptimizerOptions optimizer_options(const TrainingStepOptions& options) {
  OptimizerOptions optimizer = options.optimizer;
  optimizer.loss_scaling = optimizer.loss_scaling || options.dtype == DType::f16;
  return optimizer;
}

PlanOptions plan_options(const TrainingStepOptions& options, const StepState* state,
                         const float* loss_scale) {
  PlanOptions plan;
  plan.mode = Mode::train;
  plan.dtype = options.dtype;
  plan.loss = options.loss;
  plan.loss->gradient_scale = loss_scale;
  plan.seed = options.seed;
  plan.state = state;
  plan.pad_channels = options.pad_channels;
  plan.inputs = options.inputs;
  plan.keeps_scores = options.teacher.has_value();
  return plan;
}

}  // namespace

TrainingStep::TrainingStep(const Graph& graph, Parameters& parameters, DeviceContext& context,
                           const TrainingStepOptions& options)
    : graph_(graph),
      parameters_(parameters),
      context_(context),
      normalization_(options.normalization),
      cache_(options.cache),
      accumulates_(options.optimizer.accumulate > 1),
      outputs_(1 + static_cast<int>(graph.auxiliary_outputs().size())),
      teacher_options_(options.teacher),
      device_state_(context.device(), sizeof(StepState)),
      device_losses_(context.device(), loss_bytes()),
      device_weights_(context.device(), options.class_weights.size() * sizeof(float)),
      host_states_(Buffer::host_for(context.device(), 2 * sizeof(StepState))),
      host_losses_(Buffer::host_for(context.device(), 2 * loss_bytes())),
      optimizer_(optimizer_options(options), parameters, context),
      plan_options_(plan_options(options, as<StepState>(device_state_), optimizer_.loss_scale())) {
  compile();
  if (!options.class_weights.empty()) {
    const int classes = plan_->output().shape.c;
    require(options.class_weights.size() == to_size(classes), "one weight a class");
    copy_bytes(context.stream, device_weights_.data(), options.class_weights.data(),
               device_weights_.bytes());
    context.stream.synchronize();
    class_weights_ =
        Tensor(device_weights_.data(), {1, 1, 1, classes}, DType::f32, context.device());
  }
  for (InFlight& slot : in_flight_) slot.done = Event(context.device());
}

void TrainingStep::compile() {
  upload_.reset();
  plan_.reset();  // before the next one asks for memory
  plan_.emplace(graph_, parameters_, context_, plan_options_);
  upload_.emplace(*plan_, context_.stream, normalization_, cache_);
  if (teacher_options_) {
    if (!teacher_) teacher_.emplace(*teacher_options_, *plan_, plan_options_, context_);
    upload_->also_fill(teacher_->plan(), teacher_options_->normalization);
  }
  plan_->pack_weights();
  whole_step_ = std::vector<Replay>(to_size(plan_->inputs()));
  gradients_ = std::vector<Replay>(to_size(plan_->inputs()));
  update_ = Replay();
}

void TrainingStep::freeze(const std::vector<bool>& frozen) {
  require(!in_flight_[0].pending && !in_flight_[1].pending, "no step in flight");
  const bool any = std::find(frozen.begin(), frozen.end(), true) != frozen.end();
  const std::vector<bool> wanted = any ? frozen : std::vector<bool>();
  if (wanted == plan_options_.frozen) return;
  plan_options_.frozen = wanted;
  context_.stream.synchronize();
  compile();
}

namespace {

int64_t bytes_of(const Tensor& tensor) { return static_cast<int64_t>(tensor.whole().bytes()); }

void mark(Timeline* timeline) {
  if (timeline != nullptr) timeline->mark();
}

}  // namespace

const std::array<TrainingStep::Part, 6> TrainingStep::kParts{{
    {"forward", true, [](TrainingStep& s, Timeline* timeline) { s.plan_->forward(timeline); },
     [](const TrainingStep& s) { return s.plan_->calls(Pass::forward); }},
    {"loss", true,
     [](TrainingStep& s, Timeline* timeline) {
       s.plan_->loss(s.class_weights_, as<LossValues>(s.device_losses_));
       mark(timeline);
     },
     [](const TrainingStep& s) {
       const int64_t bytes =
           s.outputs_ * (2 * bytes_of(s.plan_->output()) + bytes_of(s.plan_->labels()));
       return std::vector<PlanCall>{{"", "loss", -1, 0, bytes}};
     }},
    {"teacher", true,
     [](TrainingStep& s, Timeline* timeline) {
       if (!s.teacher_) return;
       s.teacher_->teach(*s.plan_, &as<StepState>(s.device_state_)->images,
                         &as<LossValues>(s.device_losses_)[s.outputs_].total, timeline);
     },
     [](const TrainingStep& s) {
       return s.teacher_ ? s.teacher_->calls() : std::vector<PlanCall>();
     }},
    {"backward", true, [](TrainingStep& s, Timeline* timeline) { s.plan_->backward(timeline); },
     [](const TrainingStep& s) { return s.plan_->calls(Pass::backward); }},
    {"update", false,
     [](TrainingStep& s, Timeline* timeline) {
       s.optimizer_.update(as<StepState>(s.device_state_));
       mark(timeline);
     },
     [](const TrainingStep& s) {
       // Parameters and moments read and written, gradients read.
       const auto moments = static_cast<int64_t>(moments_of(s.optimizer_.options().kind));
       const int64_t bytes = s.graph_.parameter_count() * 4 * (2 + 1 + 2 * moments);
       return std::vector<PlanCall>{{"", "optimizer", -1, 0, bytes}};
     }},
    {"pack", false, [](TrainingStep& s, Timeline* timeline) { s.plan_->pack_weights(timeline); },
     [](const TrainingStep& s) { return s.plan_->calls(Pass::pack); }},
}};

void TrainingStep::run_parts(bool of_batch) {
  for (const Part& part : kParts) {
    if (part.of_batch == of_batch) part.run(*this, nullptr);
  }
}

StepState TrainingStep::state_of(const Batch& batch, uint64_t step, float lr,
                                 BatchOfStep of) const {
  StepState state = optimizer_.state(step, lr, of.index, of.count);
  state.images = to_size(batch.n);
  return state;
}

std::optional<StepResult> TrainingStep::run(const Batch& batch, uint64_t step, float lr,
                                            BatchOfStep of) {
  const size_t slot = turn_;
  turn_ = 1 - turn_;
  upload_->run(batch);
  as<StepState>(host_states_)[slot] = state_of(batch, step, lr, of);
  copy_bytes(context_.stream, device_state_.data(), as<StepState>(host_states_) + slot,
             sizeof(StepState));

  const auto input = to_size(plan_->input_in_use());
  if (accumulates_) {
    gradients_[input].run(context_.stream, [this] { run_parts(true); });
    optimizer_.add_gradients(of.index == 0);
    if (of.last()) update_.run(context_.stream, [this] { run_parts(false); });
  } else {
    whole_step_[input].run(context_.stream, [this] {
      run_parts(true);
      run_parts(false);
    });
  }
  copy_bytes(context_.stream, host_losses_.data() + slot * loss_bytes(), device_losses_.data(),
             loss_bytes());
  in_flight_[slot].step = step;
  in_flight_[slot].batch = of;
  in_flight_[slot].samples.assign(batch.samples.begin(), batch.samples.end());
  in_flight_[slot].pending = true;
  in_flight_[slot].done.record(context_.stream);
  return take(1 - slot);
}

void TrainingStep::run_marked(const Batch& batch, uint64_t step, float lr, Timeline& timeline) {
  require(!accumulates_ && !in_flight_[0].pending && !in_flight_[1].pending,
          "a step of one batch, and no other");
  *as<StepState>(host_states_) = state_of(batch, step, lr, {});
  copy_bytes(context_.stream, device_state_.data(), host_states_.data(), sizeof(StepState));
  timeline.clear();
  timeline.mark();
  upload_->run(batch);
  timeline.mark();
  for (const Part& part : kParts) part.run(*this, &timeline);
  context_.stream.synchronize();
}

std::vector<StepCall> TrainingStep::calls() const {
  const int64_t uploaded = plan_->input().shape.elements() + bytes_of(plan_->input());
  std::vector<StepCall> list{{"upload", {"", "upload", -1, 0, uploaded}}};
  for (const Part& part : kParts) {
    for (PlanCall& call : part.calls(*this)) {
      list.push_back({std::string(part.pass), std::move(call)});
    }
  }
  return list;
}

size_t TrainingStep::bytes() const {
  size_t bytes = plan_->memory().arena + plan_->memory().packed;
  if (teacher_) bytes += teacher_->memory().arena + teacher_->memory().packed;
  return bytes;
}

std::optional<StepResult> TrainingStep::finish() { return take(1 - turn_); }

std::optional<StepResult> TrainingStep::take(size_t slot) {
  InFlight& flight = in_flight_[slot];
  if (!flight.pending) return std::nullopt;
  flight.done.synchronize();
  flight.pending = false;
  const LossValues* const values = as<LossValues>(host_losses_) + slot * to_size(losses());
  StepResult result{flight.step, flight.batch, flight.samples, values[0], 0, 0};
  for (int i = 1; i < outputs_; ++i) result.auxiliary += values[i].total;
  if (teacher_) result.teacher = values[outputs_].total;
  result.loss.total += result.auxiliary + result.teacher;
  return result;
}

}  // namespace macadam
