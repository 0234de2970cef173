#include "tests/engine/naive_network.h"

#include <algorithm>

#include "kernels/reference/reference_ops.h"

namespace macadam::testing {

namespace {

size_t id(Value v) { return static_cast<size_t>(v.id); }
size_t elements(Shape shape) { return static_cast<size_t>(shape.elements()); }

struct PackedConv {
  PackedConv(ConvOps& ops, const ConvDesc& desc, const Tensor& weights, const Tensor& bias)
      : conv(ops.make(desc)), packed(conv->packed_bytes()), workspace(conv->workspace_bytes()) {
    conv->pack(weights, bias, packed.data());
  }
  std::unique_ptr<Convolution> conv;
  std::vector<std::byte> packed, workspace;
};

/// Calls f(input element, weight element, output element) for every product of a transposed
/// convolution: input (n, h, w, c) meets output (n, h * stride + i, w * stride + j, k) in weight
/// (c, i, j, k).
template <typename F>
void for_each_product(Shape in, Shape out, const ConvTransposeLayer& layer, F&& f) {
  const int kernel = layer.kernel, stride = layer.stride;
  size_t x = 0;
  for (int n = 0; n < in.n; ++n)
    for (int h = 0; h < in.h; ++h)
      for (int w = 0; w < in.w; ++w)
        for (int c = 0; c < in.c; ++c, ++x)
          for (int i = 0; i < kernel; ++i)
            for (int j = 0; j < kernel; ++j)
              for (int k = 0; k < out.c; ++k) {
                const int weight = ((c * kernel + i) * kernel + j) * out.c + k;
                const int row = n * out.h + h * stride + i, column = w * stride + j;
                f(x, static_cast<size_t>(weight),
                  static_cast<size_t>((row * out.w + column) * out.c + k));
              }
}

double at(const Tensor& tensor, size_t element) {
  return static_cast<double>(tensor.as<float>()[element]);
}

std::vector<double> sums_of_channels(const Tensor& tensor) {
  std::vector<double> sums(static_cast<size_t>(tensor.shape.c));
  for (size_t i = 0; i < elements(tensor.shape); ++i) sums[i % sums.size()] += at(tensor, i);
  return sums;
}

void add_to(const Tensor& tensor, const std::vector<double>& terms) {
  for (size_t i = 0; i < terms.size(); ++i) {
    tensor.as<float>()[i] = static_cast<float>(at(tensor, i) + terms[i]);
  }
}

void write_to(const Tensor& tensor, const std::vector<double>& values) {
  std::fill_n(tensor.as<float>(), values.size(), 0.0f);
  add_to(tensor, values);
}

}  // namespace

NaiveNetwork::NaiveNetwork(const Graph& graph, Parameters& parameters, bool training,
                           uint64_t dropout_seed)
    : graph_(graph),
      parameters_(parameters),
      training_(training),
      seed_(dropout_seed),
      ops_(make_reference_ops()) {
  for (int i = 0; i < graph.values(); ++i) {
    memory_.values.emplace_back(elements(graph.shape(Value{i})));
    memory_.gradients.emplace_back(elements(graph.shape(Value{i})));
  }
  for (const Node& node : graph.nodes()) {
    memory_.saved.emplace_back(2 * static_cast<size_t>(graph.shape(node.output).c));
    memory_.indices.emplace_back(elements(graph.shape(node.output)));
  }
  memory_.labels.resize(static_cast<size_t>(graph.shape(graph.output()).pixels()));
}

Tensor NaiveNetwork::labels() {
  const Shape scores = graph_.shape(graph_.output());
  return Tensor(memory_.labels.data(), {scores.n, scores.h, scores.w, 1}, DType::u8);
}
Tensor NaiveNetwork::value(Value v) const {
  return Tensor(memory_.values[id(v)].data(), graph_.shape(v), DType::f32);
}
Tensor NaiveNetwork::gradient(Value v) const {
  return Tensor(memory_.gradients[id(v)].data(), graph_.shape(v), DType::f32);
}
Tensor NaiveNetwork::saved(size_t node, int which) const {
  const int channels = graph_.shape(graph_.nodes()[node].output).c;
  return Tensor(memory_.saved[node].data() + which * channels, {1, 1, 1, channels}, DType::f32);
}
Tensor NaiveNetwork::index(size_t node) const {
  return Tensor(memory_.indices[node].data(), graph_.shape(graph_.nodes()[node].output), DType::u8);
}
Tensor NaiveNetwork::parameter(const Node& node, size_t which) const {
  if (which >= node.parameters.size()) return {};
  return parameters_.value(static_cast<size_t>(node.parameters[which]));
}
Tensor NaiveNetwork::parameter_gradient(const Node& node, size_t which) const {
  if (which >= node.parameters.size()) return {};
  return parameters_.gradient(static_cast<size_t>(node.parameters[which]));
}

void NaiveNetwork::forward(const StepState& state) {
  for (size_t i = 0; i < graph_.nodes().size(); ++i) forward_node(i, state);
}

LossValues NaiveNetwork::loss(const LossDesc& desc, const Tensor& class_weights) {
  for (std::vector<float>& g : memory_.gradients) std::fill(g.begin(), g.end(), 0.0f);
  LossValues values;
  const Tensor gradient_of_scores = training_ ? gradient(graph_.output()) : Tensor();
  ops_.loss->segmentation(desc, output(), labels(), class_weights, gradient_of_scores, &values,
                          nullptr);
  return values;
}

void NaiveNetwork::backward(const StepState& state) {
  for (size_t i = graph_.nodes().size(); i-- > 0;) backward_node(i, state);
}

void NaiveNetwork::forward_node(size_t i, const StepState& state) {
  const Node& node = graph_.nodes()[i];
  const Tensor x = value(node.inputs[0]), y = value(node.output);
  const auto p = [&](size_t which) { return parameter(node, which); };
  if (std::holds_alternative<ConvLayer>(node.layer)) {
    PackedConv conv(*ops_.conv, graph_.conv_desc(node), p(0), p(1));
    conv.conv->forward(x, conv.packed.data(), y, conv.workspace.data());
  } else if (const auto* norm = std::get_if<BatchNormLayer>(&node.layer)) {
    if (training_) {
      ops_.norm->train(norm->desc, x, p(0), p(1), p(2), p(3), saved(i, 0), saved(i, 1), y, nullptr);
    } else {
      ops_.norm->infer(norm->desc, x, p(0), p(1), p(2), p(3), y);
    }
  } else if (std::holds_alternative<ConvTransposeLayer>(node.layer)) {
    conv_transpose(node);
  } else if (const auto* activation = std::get_if<ActivationLayer>(&node.layer)) {
    ops_.activation->activate(activation->kind, x, y);
  } else if (const auto* dropout = std::get_if<DropoutLayer>(&node.layer)) {
    if (training_) {
      ops_.activation->dropout(x, y, {dropout->p, seed_, dropout->id, &state});
    } else {
      ops_.elementwise->copy(x, y, false);
    }
  } else if (const auto* path = std::get_if<DropPathLayer>(&node.layer)) {
    if (training_) {
      ops_.activation->drop_path(x, y, {path->p, seed_, path->id, &state}, false);
    } else {
      ops_.elementwise->copy(x, y, false);
    }
  } else if (std::holds_alternative<GlobalAveragePoolLayer>(node.layer)) {
    ops_.channel->mean(x, y, nullptr);
  } else if (std::holds_alternative<ScaleLayer>(node.layer)) {
    ops_.channel->scale(x, value(node.inputs[1]), y);
  } else if (const auto* max = std::get_if<MaxPoolLayer>(&node.layer)) {
    ops_.pool->max(max->desc, x, y, index(i));
  } else if (const auto* average = std::get_if<AveragePoolLayer>(&node.layer)) {
    ops_.pool->average(average->desc, x, y);
  } else if (const auto* up = std::get_if<UpsampleLayer>(&node.layer)) {
    up->bilinear ? ops_.upsample->bilinear(x, y) : ops_.upsample->nearest(x, y);
  } else if (std::holds_alternative<ConcatLayer>(node.layer)) {
    int channel = 0;
    for (Value v : node.inputs) {
      const int channels = graph_.shape(v).c;
      ops_.elementwise->copy(value(v), y.channels(channel, channels), false);
      channel += channels;
    }
  } else {
    ops_.elementwise->add(x, value(node.inputs[1]), y, false);
  }
}

void NaiveNetwork::conv_transpose(const Node& node) {
  const Tensor x = value(node.inputs[0]), y = value(node.output);
  const Tensor weights = parameter(node, 0), bias = parameter(node, 1);
  const auto channels = static_cast<size_t>(y.shape.c);
  std::vector<double> sums(elements(y.shape));
  for (size_t i = 0; bias.data != nullptr && i < sums.size(); ++i) sums[i] = at(bias, i % channels);
  for_each_product(
      x.shape, y.shape, std::get<ConvTransposeLayer>(node.layer),
      [&](size_t in, size_t weight, size_t out) { sums[out] += at(x, in) * at(weights, weight); });
  write_to(y, sums);
}

void NaiveNetwork::conv_transpose_backward(const Node& node) {
  const Tensor x = value(node.inputs[0]), dy = gradient(node.output);
  const Tensor weights = parameter(node, 0);
  std::vector<double> dx(elements(x.shape)), dweights(elements(weights.shape));
  for_each_product(x.shape, dy.shape, std::get<ConvTransposeLayer>(node.layer),
                   [&](size_t in, size_t weight, size_t out) {
                     dx[in] += at(dy, out) * at(weights, weight);
                     dweights[weight] += at(dy, out) * at(x, in);
                   });
  add_to(gradient(node.inputs[0]), dx);
  write_to(parameter_gradient(node, 0), dweights);
  if (node.parameters.size() > 1) write_to(parameter_gradient(node, 1), sums_of_channels(dy));
}

void NaiveNetwork::backward_node(size_t i, const StepState& state) {
  const Node& node = graph_.nodes()[i];
  const Tensor x = value(node.inputs[0]), y = value(node.output), dy = gradient(node.output);
  const Tensor dx = gradient(node.inputs[0]);
  std::vector<float> part_values(elements(x.shape));
  const Tensor part(part_values.data(), x.shape, DType::f32);
  if (std::holds_alternative<ConvLayer>(node.layer)) {
    ConvDesc desc = graph_.conv_desc(node);
    desc.backward = true;
    PackedConv conv(*ops_.conv, desc, parameter(node, 0), parameter(node, 1));
    conv.conv->backward_weights(x, dy, parameter_gradient(node, 0), conv.workspace.data());
    if (desc.bias) write_to(parameter_gradient(node, 1), sums_of_channels(dy));
    conv.conv->backward_data(dy, conv.packed.data(), part, conv.workspace.data());
    ops_.elementwise->copy(part, dx, true);
  } else if (const auto* norm = std::get_if<BatchNormLayer>(&node.layer)) {
    Tensor dgamma = parameter_gradient(node, 0);
    std::vector<float> unread(static_cast<size_t>(x.shape.c));  // of a scale that is not trained
    if (dgamma.data == nullptr) dgamma = Tensor(unread.data(), {1, 1, 1, x.shape.c}, DType::f32);
    ops_.norm->backward(norm->desc, x, dy, parameter(node, 0), parameter(node, 1), saved(i, 0),
                        saved(i, 1), part, dgamma, parameter_gradient(node, 1), nullptr);
    ops_.elementwise->copy(part, dx, true);
  } else if (std::holds_alternative<ConvTransposeLayer>(node.layer)) {
    conv_transpose_backward(node);
  } else if (const auto* activation = std::get_if<ActivationLayer>(&node.layer)) {
    ops_.activation->activate_backward(
        activation->kind, gradient_reads_input(activation->kind) ? x : y, dy, dx, true);
  } else if (const auto* dropout = std::get_if<DropoutLayer>(&node.layer)) {
    ops_.activation->dropout_backward(dy, dx, {dropout->p, seed_, dropout->id, &state}, true);
  } else if (const auto* path = std::get_if<DropPathLayer>(&node.layer)) {
    ops_.activation->drop_path(dy, dx, {path->p, seed_, path->id, &state}, true);
  } else if (std::holds_alternative<GlobalAveragePoolLayer>(node.layer)) {
    ops_.channel->mean_backward(dy, dx, true);
  } else if (std::holds_alternative<ScaleLayer>(node.layer)) {
    const Tensor factors = value(node.inputs[1]);
    std::vector<float> factor_values(elements(factors.shape));
    const Tensor factor_part(factor_values.data(), factors.shape, DType::f32);
    ops_.channel->scale_backward(x, factors, dy, dx, true, factor_part, nullptr);
    ops_.elementwise->copy(factor_part, gradient(node.inputs[1]), true);
  } else if (const auto* max = std::get_if<MaxPoolLayer>(&node.layer)) {
    ops_.pool->max_backward(max->desc, dy, index(i), dx, true);
  } else if (const auto* average = std::get_if<AveragePoolLayer>(&node.layer)) {
    ops_.pool->average_backward(average->desc, dy, dx, true);
  } else if (const auto* up = std::get_if<UpsampleLayer>(&node.layer)) {
    up->bilinear ? ops_.upsample->bilinear_backward(dy, dx, true)
                 : ops_.upsample->nearest_backward(dy, dx, true);
  } else if (std::holds_alternative<ConcatLayer>(node.layer)) {
    int channel = 0;
    for (Value v : node.inputs) {
      const int channels = graph_.shape(v).c;
      ops_.elementwise->copy(dy.channels(channel, channels), gradient(v), true);
      channel += channels;
    }
  } else {
    for (Value v : node.inputs) ops_.elementwise->copy(dy, gradient(v), true);
  }
}

}  // namespace macadam::testing
