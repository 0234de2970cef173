#include "engine/plan/plan.h"

#include <algorithm>

#include "base/round_up.h"
#include "engine/graph/rewrite.h"
#include "engine/plan/memory_planner.h"
#include "engine/plan/placement.h"

namespace macadam {

namespace {

size_t index(Value v) { return static_cast<size_t>(v.id); }

Graph fuse(const Graph& graph, Mode mode) {
  if (mode == Mode::train) {
    return join_max_pools(fuse_dropout(fuse_activations(fuse_squeeze_excite(graph), true)));
  }
  return fuse_activations(fuse_squeeze_excite(fold_batch_norms(remove_dropout(graph))), false);
}

Graph rewrite(const Graph& graph, const PlanOptions& options, Device device) {
  const bool tensor_cores = device.is_cuda() && size_of(options.dtype) == 2;
  const Graph fused = fuse(graph, options.mode);
  return options.pad_channels.value_or(tensor_cores) ? pad_channels(fused) : fused;
}

bool is_joined(const Node& node) {
  const auto* pool = std::get_if<MaxPoolLayer>(&node.layer);
  return pool != nullptr && pool->joined;
}

/// Turns places into tensors of one arena.
class Arena {
 public:
  Arena(std::byte* data, const MemoryPlacement& placement, DType dtype, Device device)
      : data_(data), placement_(placement), dtype_(dtype), device_(device) {}

  void* block(int id) const {
    return id < 0 ? nullptr : data_ + placement_.offsets[static_cast<size_t>(id)];
  }
  /// Of a value, or of its gradient, of `graph`.
  Tensor tensor(const Place& place, const Graph& graph, Value v) const {
    if (!place.placed()) return {};
    Shape whole = graph.shape(v);
    whole.c = place.pixel_stride;
    const Tensor all(block(place.block), whole, dtype_, device_);
    Tensor tensor = all.channels(place.first_channel, graph.shape(v).c);
    tensor.spare = graph.stored_channels(v) - tensor.shape.c;
    require(place.first_channel + tensor.whole().shape.c <= place.pixel_stride,
            "a place holds all that its value is stored in");
    return tensor;
  }

 private:
  std::byte* data_;
  const MemoryPlacement& placement_;
  DType dtype_;
  Device device_;
};

}  // namespace

Plan::Plan(const Graph& graph, Parameters& parameters, Stream& stream, Ops& ops,
           const PlanOptions& options)
    : ops_(ops), options_(options), graph_(rewrite(graph, options, stream.device())) {
  require(graph.output().id >= 0, "the graph has an output");
  require(parameters.size() == graph.parameters().size(), "parameters of this graph");
  const bool training = options.mode == Mode::train;
  require(!training || (options.loss && parameters.training()), "training needs a loss");

  const std::vector<bool> learns = parameters_requiring_gradient(graph_, options.frozen);
  const std::vector<bool> requires_gradient = values_requiring_gradient(graph_, learns);
  std::vector<std::shared_ptr<Layer>> layers;
  std::vector<LayerNeeds> needs;
  for (const Node& node : graph_.nodes()) {
    const bool input_gradient = training && requires_gradient[index(node.inputs[0])];
    const bool parameter_gradients =
        training && std::any_of(node.parameters.begin(), node.parameters.end(),
                                [&](int p) { return learns[static_cast<size_t>(p)]; });
    steps_.push_back({node.name,
                      make_layer({graph_, node, ops, options.dtype, training, input_gradient,
                                  parameter_gradients, options.seed, options.state}),
                      {},
                      {},
                      {},
                      parameter_gradients,
                      is_joined(node)});
    layers.push_back(steps_.back().layer);
    needs.push_back(steps_.back().layer->needs());
    steps_.back().needs = needs.back();
  }
  const Device device = stream.device();
  require(options.weights == nullptr ||
              (!training && options.weights->are_of(parameters, options.dtype, device)),
          "weights of the plan's parameters, dtype and device, for inference");
  PackedWeights alone(parameters, options.dtype, device);
  weights_ =
      (options.weights == nullptr ? alone : *options.weights).request(graph_, layers, stream);
  memory_.packed = weights_->own_bytes();

  const Shape scores = graph_.shape(graph_.output());
  LayoutOptions layout_options;
  layout_options.training = training;
  layout_options.inputs = options.inputs.value_or(training && stream.device().is_cuda() ? 2 : 1);
  layout_options.requires_gradient = requires_gradient;
  layout_options.element_bytes = size_of(options.dtype);
  layout_options.pack_workspace_bytes = weights_->workspace_bytes();
  if (options.loss) {
    layout_options.labels_bytes = static_cast<size_t>(scores.pixels());
    layout_options.loss_workspace_bytes = ops.loss->workspace_bytes(scores);
  }
  const PlanLayout layout = lay_out(graph_, needs, layout_options);
  const MemoryPlacement placement = place_blocks(layout.blocks);
  memory_.arena = placement.arena;
  memory_.peak = placement.peak;

  arena_ = Buffer(device, memory_.arena);
  const Arena arena(arena_.data(), placement, options.dtype, device);

  for (size_t i = 0; i < steps_.size(); ++i) {
    const Node& node = graph_.nodes()[i];
    Bindings b;
    b.output = arena.tensor(layout.values[index(node.output)], graph_, node.output);
    b.output_gradient = arena.tensor(layout.gradients[index(node.output)], graph_, node.output);
    b.accumulate = layout.accumulate[i];
    for (Value v : node.inputs) {
      b.inputs.push_back(arena.tensor(layout.values[index(v)], graph_, v));
      b.input_gradients.push_back(arena.tensor(layout.gradients[index(v)], graph_, v));
    }
    for (int p : node.parameters) {
      b.parameters.push_back(parameters.value(static_cast<size_t>(p)));
      b.parameter_gradients.push_back(parameters.gradient(static_cast<size_t>(p)));
    }
    if (const int pool = layout.joined_pools[i]; pool >= 0) {
      const Value pooled = graph_.nodes()[static_cast<size_t>(pool)].output;
      b.pooled_gradient = arena.tensor(layout.gradients[index(pooled)], graph_, pooled);
      b.pooled_index = Tensor(arena.block(layout.saved[static_cast<size_t>(pool)]),
                              graph_.shape(pooled), DType::u8, device);
    }
    b.only_pooled = layout.only_pooled[i];
    b.saved = arena.block(layout.saved[i]);
    b.packed = weights_->of(i);
    b.workspace = arena.block(layout.forward_workspace[i]);
    steps_[i].forward = b;
    b.workspace = arena.block(layout.backward_workspace[i]);
    steps_[i].backward = std::move(b);
  }
  narrow_weight_gradients(stream);
  for (size_t i = 0; i < layout.inputs.size(); ++i) {
    inputs_.push_back({arena.tensor(layout.inputs[i], graph_, graph_.input()), {}});
    const Tensor& images = inputs_.back().images;
    if (!images.dense()) {  // once: nobody else writes there
      const auto elements = static_cast<size_t>(images.shape.pixels() * images.pixel_stride);
      zero_bytes(stream, images.data, elements * size_of(images.dtype));
    }
    if (!options.loss) continue;
    inputs_.back().labels =
        Tensor(arena.block(layout.labels[i]), {scores.n, scores.h, scores.w, 1}, DType::u8, device);
  }
  output_ = arena.tensor(layout.values[index(graph_.output())], graph_, graph_.output());
  output_gradient_ =
      arena.tensor(layout.gradients[index(graph_.output())], graph_, graph_.output());
  pack_workspace_ = arena.block(layout.pack_workspace);
  if (options.loss) loss_workspace_ = arena.block(layout.loss_workspace);
}

namespace {

bool lies_inside(const Tensor& part, const Tensor& whole) {
  const auto* begin = static_cast<const std::byte*>(whole.data);
  const auto* at = static_cast<const std::byte*>(part.data);
  return at >= begin && at < begin + static_cast<size_t>(whole.pixel_stride) *
                                         static_cast<size_t>(whole.shape.pixels()) *
                                         size_of(whole.dtype);
}

}  // namespace

bool Plan::runs(Pass pass, size_t position) const {
  const Step& step = steps_[position];
  switch (pass) {
    case Pass::pack: return weights_->packs(position);
    case Pass::forward: return true;
    case Pass::backward: return step.backward.output_gradient.data != nullptr && !step.joined;
  }
  throw std::logic_error("requirement violated: a pass");
}

const CastList& Plan::casts_of(Pass pass) const {
  return pass == Pass::pack ? weights_->casts() : gradient_casts_;
}

template <typename Visit>
void Plan::for_each_call(Pass pass, const Visit& visit) const {
  const bool casts = pass != Pass::forward && !casts_of(pass).empty();
  if (pass == Pass::pack && casts) visit(kCasts);
  for (size_t k = 0; k < steps_.size(); ++k) {
    const size_t i = pass == Pass::backward ? steps_.size() - 1 - k : k;
    if (runs(pass, i)) visit(i);
  }
  if (pass == Pass::backward && casts) visit(kCasts);
}

void Plan::use_input(int which) {
  const Tensor& now = input(which);
  for (size_t i = 0; i < steps_.size(); ++i) {
    const std::vector<Value>& values = graph_.nodes()[i].inputs;
    for (size_t k = 0; k < values.size(); ++k) {
      if (values[k] != graph_.input()) continue;
      steps_[i].forward.inputs[k] = now;
      steps_[i].backward.inputs[k] = now;
    }
  }
  input_in_use_ = which;
}

void Plan::narrow_weight_gradients(Stream& stream) {
  const auto narrows = [&](const Step& step) {
    return step.learns && step.backward.parameter_gradients[0].data != nullptr &&
           step.needs.weight_gradient != DType::f32;
  };
  const auto bytes = [&](const Tensor& gradient) {
    const auto elements = static_cast<size_t>(gradient.shape.elements());
    return round_up(elements * size_of(options_.dtype), kMemoryAlignment);
  };
  size_t all = 0;
  for (const Step& step : steps_) {
    if (narrows(step)) all += bytes(step.backward.parameter_gradients[0]);
  }
  narrow_gradients_ = Buffer(stream.device(), all);
  memory_.packed += all;
  std::vector<Convolution::Cast> casts;
  std::byte* at = narrow_gradients_.data();
  for (Step& step : steps_) {
    if (!narrows(step)) continue;
    require(step.needs.weight_gradient == options_.dtype, "gradients of the plan's dtype");
    Tensor& gradient = step.backward.parameter_gradients[0];
    const Tensor narrow(at, gradient.shape, options_.dtype, stream.device());
    casts.push_back({narrow, gradient});
    at += bytes(gradient);
    gradient = narrow;
  }
  gradient_casts_ = CastList(casts, stream);
}

void Plan::run_call(Pass pass, size_t position) {
  if (position == kCasts) {
    casts_of(pass).run(*ops_.elementwise);
    return;
  }
  const Step& step = steps_[position];
  switch (pass) {
    case Pass::pack: weights_->pack(position, pack_workspace_); return;
    case Pass::forward: step.layer->forward(step.forward); return;
    case Pass::backward: step.layer->backward(step.backward); return;
  }
}

void Plan::run(Pass pass, Timeline* timeline) {
  for_each_call(pass, [&](size_t position) {
    run_call(pass, position);
    if (timeline != nullptr) timeline->mark();
  });
}

void Plan::pack_weights(Timeline* timeline) { run(Pass::pack, timeline); }

void Plan::forward(Timeline* timeline) { run(Pass::forward, timeline); }

void Plan::loss(const Tensor& class_weights, LossValues* values) {
  require(options_.loss.has_value(), "a plan made with a loss");
  ops_.loss->run(*options_.loss, output_, labels(input_in_use_), class_weights, output_gradient_,
                 values, loss_workspace_);
}

void Plan::backward(Timeline* timeline) {
  require(options_.mode == Mode::train, "a plan made for training");
  run(Pass::backward, timeline);
}

PlanCall Plan::call(Pass pass, size_t position) const {
  if (position == kCasts) {
    return {"", "cast", -1, 0, casts_of(pass).bytes()};
  }
  const Step& step = steps_[position];
  const Node& node = graph_.nodes()[position];
  const Bindings& b = pass == Pass::backward ? step.backward : step.forward;
  const auto packed = static_cast<int64_t>(step.needs.packed);
  const auto bytes = [](const Tensor& tensor) {
    return tensor.data == nullptr ? int64_t{0} : static_cast<int64_t>(tensor.whole().bytes());
  };
  const auto all = [&](const std::vector<Tensor>& tensors) {
    int64_t sum = 0;
    for (const Tensor& tensor : tensors) sum += bytes(tensor);
    return sum;
  };
  PlanCall call{node.name, std::string(kind_of(node.layer)), static_cast<int>(position), 0, packed};
  if (std::holds_alternative<ConcatLayer>(node.layer)) {
    // What lies in place already is not moved.
    const std::vector<Tensor>& parts = pass == Pass::backward ? b.input_gradients : b.inputs;
    const Tensor& whole = pass == Pass::backward ? b.output_gradient : b.output;
    for (const Tensor& part : parts) call.bytes += lies_inside(part, whole) ? 0 : 2 * bytes(part);
    return call;
  }
  // A batch norm passes again over what it took its sums of.
  const auto* norm = std::get_if<BatchNormLayer>(&node.layer);
  const bool sums = norm != nullptr && options_.mode == Mode::train;
  if (sums && pass == Pass::forward && !norm->desc.frozen) call.bytes += all(b.inputs);
  if (sums && pass == Pass::backward) call.bytes += all(b.inputs) + bytes(b.output_gradient);
  if (pass == Pass::pack) {
    call.bytes += all(b.parameters);
  } else if (pass == Pass::forward) {
    call.flops = 2 * graph_.macs(node);
    call.bytes += all(b.inputs) + bytes(b.output);
  } else {
    const bool input_gradient = b.input_gradients[0].data != nullptr;
    call.flops = 2 * graph_.macs(node) * (int{step.learns} + int{input_gradient});
    call.bytes += b.only_pooled ? 0 : bytes(b.output_gradient);
    if (b.pooled_gradient.data != nullptr) {
      call.bytes += bytes(b.pooled_gradient) + bytes(b.pooled_index);
    }
    call.bytes += step.learns ? all(b.parameter_gradients) : 0;
    if (step.needs.backward_reads_input) call.bytes += all(b.inputs);
    if (step.needs.backward_reads_output) call.bytes += bytes(b.output);
    for (size_t k = 0; k < b.input_gradients.size(); ++k) {
      call.bytes += bytes(b.input_gradients[k]) * (b.accumulate[k] ? 2 : 1);
    }
  }
  return call;
}

std::vector<PlanCall> Plan::calls(Pass pass) const {
  std::vector<PlanCall> list;
  for_each_call(pass, [&](size_t position) { list.push_back(call(pass, position)); });
  return list;
}

std::vector<PlanLayer> Plan::layers() const {
  std::vector<PlanLayer> lines;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Node& node = graph_.nodes()[i];
    PlanLayer line{steps_[i].name,
                   std::string(kind_of(node.layer)),
                   steps_[i].layer->implementation(),
                   graph_.shape(node.output),
                   0,
                   0};
    for (int p : node.parameters) {
      const ParameterSpec& spec = graph_.parameters()[static_cast<size_t>(p)];
      line.parameters += spec.trainable() ? spec.shape.elements() : 0;
    }
    line.macs = graph_.macs(node);
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace macadam
