#include "engine/plan/plan.h"

#include <algorithm>
#include <utility>

#include "base/round_up.h"
#include "base/to_size.h"
#include "engine/graph/rewrite.h"
#include "engine/plan/memory_planner.h"
#include "engine/plan/placement.h"

namespace macadam {

namespace {

size_t index(Value v) { return to_size(v.id); }

Graph fuse(const Graph& graph, Mode mode) {
  if (mode == Mode::train) {
    return join_means(join_max_pools(
        join_additions(fuse_dropout(fuse_activations(fuse_squeeze_excite(graph), true)))));
  }
  return fuse_activations(fuse_squeeze_excite(for_inference(graph)), false);
}

Graph rewrite(const Graph& graph, const PlanOptions& options, Device device) {
  const bool tensor_cores = device.is_cuda() && size_of(options.dtype) == 2;
  const Graph fused = fuse(graph, options.mode);
  return options.pad_channels.value_or(tensor_cores) ? pad_channels(fused) : fused;
}

/// The loss with other weights of all terms.
LossDesc weighted(LossDesc loss, float weight) {
  for (LossTerm& term : loss.terms) term.weight *= weight;
  return loss;
}

/// Without the scratch of packing where it is larger than all that inference needs (where it is
/// what branches are folded in): no arena should be so large for the sake of one moment.
PlanLayout lay_out_for(const Graph& graph, const std::vector<LayerNeeds>& needs,
                       LayoutOptions options) {
  const size_t scratch = std::exchange(options.pack_workspace_bytes, 0);
  if (scratch > 0 && !options.training) {
    PlanLayout without = lay_out(graph, needs, options);
    if (place_blocks(without.blocks).arena < scratch) return without;
  }
  options.pack_workspace_bytes = scratch;
  return lay_out(graph, needs, options);
}

}  // namespace

Plan::Plan(const Graph& graph, Parameters& parameters, DeviceContext& context,
           const PlanOptions& options)
    : ops_(context.ops), options_(options), graph_(rewrite(graph, options, context.device())) {
  require(graph.output().id >= 0, "the graph has an output");
  require(parameters.size() == graph.parameters().size(), "parameters of this graph");
  const bool training = options.mode == Mode::train;
  require(!training || (options.loss && parameters.training()), "training needs a loss");
  require(options.weights == nullptr ||
              (options.mode == Mode::infer &&
               options.weights->are_of(parameters, options.dtype, context.device())),
          "weights of the plan's parameters, dtype and device, for inference");

  const std::vector<bool> learning = training
                                         ? parameters_requiring_gradient(graph_, options.frozen)
                                         : std::vector<bool>(graph_.parameters().size());
  const std::vector<bool> gradients = values_requiring_gradient(graph_, learning);
  compile(learning, gradients);
  request_weights(parameters, context.stream);
  const PlanLayout layout = place(gradients, context.device());
  bind_layers(layout, parameters);
  bind_ends(layout, context.stream);
  narrow_weight_gradients(context.stream);
}

void Plan::compile(const std::vector<bool>& learning, const std::vector<bool>& gradients) {
  for (const Node& node : graph_.nodes()) {
    const bool input_gradient = gradients[index(node.inputs[0])];
    const bool learns =
        std::ranges::any_of(node.parameters, [&](int p) { return learning[to_size(p)]; });
    const LayerContext context{
        graph_,         node,   ops_,          options_.dtype, options_.mode == Mode::train,
        input_gradient, learns, options_.seed, options_.state};
    std::shared_ptr<Layer> layer = make_layer(context);
    const LayerNeeds needs = layer->needs();
    steps_.push_back({node.name, std::move(layer), needs, {}, {}, learns, is_joined(node.layer)});
  }
}

void Plan::request_weights(const Parameters& parameters, Stream& stream) {
  const Device device = stream.device();
  std::vector<std::shared_ptr<Layer>> layers;
  for (const Step& step : steps_) layers.push_back(step.layer);
  PackedWeights own(parameters, options_.dtype, device);
  PackedWeights& weights = options_.weights == nullptr ? own : *options_.weights;
  weights_ = weights.request(graph_, layers, stream);
  options_.weights = nullptr;  // which need not outlive the plan
  memory_.packed = weights_->own_bytes();
}

PlanLayout Plan::place(const std::vector<bool>& gradients, Device device) {
  const bool training = options_.mode == Mode::train;
  LayoutOptions options;
  options.training = training;
  options.inputs = options_.inputs.value_or(training && device.is_cuda() ? 2 : 1);
  options.requires_gradient = gradients;
  options.element_bytes = size_of(options_.dtype);
  options.pack_workspace_bytes = weights_->workspace_bytes();
  options.keeps_scores = options_.keeps_scores;
  if (options_.loss) {
    const Shape scores = graph_.shape(graph_.output());
    options.labels_bytes = to_size(scores.pixels());
    options.loss_workspace_bytes = ops_.loss->workspace_bytes(*options_.loss, scores);
  }
  std::vector<LayerNeeds> needs;
  for (const Step& step : steps_) needs.push_back(step.needs);
  PlanLayout layout = lay_out_for(graph_, needs, options);
  require(options_.arena == nullptr || !training, "arenas are shared for inference");
  const Value input = graph_.input();
  const bool padded = graph_.stored_channels(input) > graph_.shape(input).c;
  ArenaMemory own(device);
  const bool shares = options_.arena != nullptr && !padded;
  arena_ = Arena(layout, options_.dtype, shares ? *options_.arena : own, device);
  options_.arena = nullptr;  // which need not outlive the plan
  memory_.arena = arena_.bytes();
  memory_.peak = arena_.peak();
  return layout;
}

void Plan::bind_layers(const PlanLayout& layout, const Parameters& parameters) {
  const auto value = [&](Value v) { return arena_.tensor(layout.values[index(v)], graph_, v); };
  const auto gradient = [&](Value v) {
    return arena_.tensor(layout.gradients[index(v)], graph_, v);
  };
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Node& node = graph_.nodes()[i];
    Bindings b;
    b.output = value(node.output);
    b.output_gradient = gradient(node.output);
    b.accumulate = layout.accumulate[i];
    for (Value v : node.inputs) {
      b.inputs.push_back(value(v));
      b.input_gradients.push_back(gradient(v));
    }
    for (int p : node.parameters) {
      b.parameters.push_back(parameters.value(to_size(p)));
      b.parameter_gradients.push_back(parameters.gradient(to_size(p)));
    }
    if (layout.joined_pools[i] >= 0) {
      const auto pool = to_size(layout.joined_pools[i]);
      const Value pooled = graph_.nodes()[pool].output;
      b.pooled_gradient = gradient(pooled);
      b.pooled_index = arena_.bytes_in(layout.saved[pool], graph_.shape(pooled));
    }
    b.only_pooled = layout.only_pooled[i];
    b.saved = arena_.block(layout.saved[i]);
    b.packed = weights_->of(i);
    b.workspace = arena_.block(layout.forward_workspace[i]);
    steps_[i].forward = b;
    b.workspace = arena_.block(layout.backward_workspace[i]);
    steps_[i].backward = std::move(b);
  }
}

void Plan::bind_ends(const PlanLayout& layout, Stream& stream) {
  const Value scores = graph_.output();
  Shape labels = graph_.shape(scores);
  labels.c = 1;
  for (size_t i = 0; i < layout.inputs.size(); ++i) {
    const Tensor images = arena_.tensor(layout.inputs[i], graph_, graph_.input());
    if (!images.dense()) {  // once: nobody else writes there
      const auto elements = to_size(images.shape.pixels() * images.pixel_stride);
      zero_bytes(stream, images.data, elements * size_of(images.dtype));
    }
    inputs_.push_back({images, {}});
    if (options_.loss) inputs_.back().labels = arena_.bytes_in(layout.labels[i], labels);
  }
  const auto add_scores = [&](Value v, float weight) {
    scores_.push_back({arena_.tensor(layout.values[index(v)], graph_, v),
                       arena_.tensor(layout.gradients[index(v)], graph_, v),
                       {}});
    if (options_.loss) scores_.back().loss = weighted(*options_.loss, weight);
  };
  add_scores(scores, 1);
  for (const AuxiliaryOutput& output : graph_.auxiliary_outputs()) {
    add_scores(output.value, output.weight);
  }
  pack_workspace_ = arena_.block(layout.pack_workspace);
  loss_workspace_ = arena_.block(layout.loss_workspace);
}

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
    const auto elements = to_size(gradient.shape.elements());
    return round_up(elements * size_of(options_.dtype), kMemoryAlignment);
  };
  size_t all = 0;
  for (const Step& step : steps_) {
    if (narrows(step)) all += bytes(step.backward.parameter_gradients[0]);
  }
  narrow_gradients_ = Buffer(stream.device(), all);
  memory_.packed += all;
  std::vector<Cast> casts;
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

void Plan::pack_weights(Timeline* timeline) {
  if (pack_workspace_ != nullptr || weights_->workspace_bytes() == 0) {
    return run(Pass::pack, timeline);
  }
  const Buffer scratch(input().device, weights_->workspace_bytes());
  pack_workspace_ = scratch.data();
  try {
    run(Pass::pack, timeline);
  } catch (...) {
    pack_workspace_ = nullptr;
    throw;
  }
  pack_workspace_ = nullptr;  // the memory is given back once the device is done (cudaFree waits)
}

void Plan::forward(Timeline* timeline) { run(Pass::forward, timeline); }

void Plan::loss(const Tensor& class_weights, LossValues* values) {
  require(options_.loss.has_value(), "a plan made with a loss");
  for (const Scores& scores : scores_) {
    ops_.loss->run(*scores.loss, scores.values, labels(input_in_use_), class_weights,
                   scores.gradient, values++, loss_workspace_);
  }
}

void Plan::backward(Timeline* timeline) {
  require(options_.mode == Mode::train, "a plan made for training");
  run(Pass::backward, timeline);
}

}  // namespace macadam
