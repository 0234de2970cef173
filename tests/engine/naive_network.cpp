#include "tests/engine/naive_network.h"

#include <algorithm>

#include "base/to_size.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::testing {

namespace {

size_t id(Value v) { return to_size(v.id); }
size_t elements(Shape shape) { return to_size(shape.elements()); }

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
                f(x, to_size(weight), to_size((row * out.w + column) * out.c + k));
              }
}

PoolDesc windows_of(const GridAveragePoolLayer& layer) {
  return {.grid_h = layer.rows, .grid_w = layer.columns};
}

double at(const Tensor& tensor, size_t element) {
  return static_cast<double>(tensor.as<float>()[element]);
}

std::vector<double> sums_of_channels(const Tensor& tensor) {
  std::vector<double> sums(to_size(tensor.shape.c));
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

/// What rewrites have set is not in the graph as it is written.
void require_as_written(bool as_written) {
  require(as_written, "the oracle runs graphs that no rewrite has touched");
}
void check_as_written(const ConvLayer& conv) {
  require_as_written(!conv.folded_norm && conv.activation == Activation::identity &&
                     conv.dropout == 0);
}
void check_as_written(const BatchNormLayer& norm) {
  require_as_written(norm.desc.activation == Activation::identity && !norm.desc.adds);
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
    memory_.saved.emplace_back(2 * to_size(graph.shape(node.output).c));
    memory_.indices.emplace_back(elements(graph.shape(node.output)));
  }
  memory_.labels.resize(to_size(graph.shape(graph.output()).pixels()));
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
  return parameters_.value(to_size(node.parameters[which]));
}
Tensor NaiveNetwork::parameter_gradient(const Node& node, size_t which) const {
  if (which >= node.parameters.size()) return {};
  return parameters_.gradient(to_size(node.parameters[which]));
}

/// Computes the node's output.
struct NaiveNetwork::Forward {
  NaiveNetwork& network;
  size_t i;
  const StepState& state;
  const Node& node = network.graph_.nodes()[i];
  Ops& ops = network.ops_;
  Tensor x = network.value(node.inputs[0]), y = network.value(node.output);

  Tensor parameter(size_t which) const { return network.parameter(node, which); }
  Tensor input(size_t which) const { return network.value(node.inputs[which]); }

  void operator()(const ConvLayer& layer) const {
    check_as_written(layer);
    PackedConv conv(*ops.conv, network.graph_.conv_desc(node), parameter(0), parameter(1));
    conv.conv->forward(x, conv.packed.data(), y, conv.workspace.data());
  }
  void operator()(const ConvTransposeLayer& layer) const {
    const Tensor weights = parameter(0), bias = parameter(1);
    const auto channels = to_size(y.shape.c);
    std::vector<double> sums(elements(y.shape));
    if (bias.data != nullptr) {
      for (size_t k = 0; k < sums.size(); ++k) sums[k] = at(bias, k % channels);
    }
    for_each_product(x.shape, y.shape, layer, [&](size_t in, size_t weight, size_t out) {
      sums[out] += at(x, in) * at(weights, weight);
    });
    write_to(y, sums);
  }
  void operator()(const BatchNormLayer& norm) const {
    check_as_written(norm);
    if (network.training_) {
      ops.norm->train(norm.desc, x, parameter(0), parameter(1), parameter(2), parameter(3),
                      network.saved(i, 0), network.saved(i, 1), {}, y, nullptr);
    } else {
      ops.norm->infer(norm.desc, x, parameter(0), parameter(1), parameter(2), parameter(3), y);
    }
  }
  void operator()(const ActivationLayer& layer) const {
    ops.activation->activate(layer.kind, x, y);
  }
  void operator()(const DropoutLayer& layer) const {
    if (network.training_) {
      ops.activation->dropout(x, y, {layer.p, network.seed_, layer.id, &state});
    } else {
      ops.elementwise->copy(x, y, false);
    }
  }
  void operator()(const DropPathLayer& layer) const {
    if (network.training_) {
      ops.activation->drop_path(x, y, {layer.p, network.seed_, layer.id, &state}, false);
    } else {
      ops.elementwise->copy(x, y, false);
    }
  }
  void operator()(const MaxPoolLayer& layer) const {
    require_as_written(!layer.joined);
    ops.pool->max(layer.desc, x, y, network.index(i));
  }
  void operator()(const AveragePoolLayer& layer) const { ops.pool->average(layer.desc, x, y); }
  void operator()(const GlobalAveragePoolLayer&) const { ops.channel->mean(x, y, nullptr); }
  void operator()(const GridAveragePoolLayer& layer) const {
    ops.pool->average(windows_of(layer), x, y);
  }
  void operator()(const ScaleLayer&) const { ops.channel->scale(x, input(1), y); }
  void operator()(const MultiplyLayer&) const { ops.elementwise->multiply(x, input(1), y, false); }
  void operator()(const DotLayer&) const { ops.elementwise->dot(x, input(1), y, false); }
  void operator()(const SqueezeExciteLayer&) const { require_as_written(false); }
  void operator()(const UpsampleLayer& layer) const {
    layer.bilinear ? ops.upsample->bilinear(x, y, layer.corners) : ops.upsample->nearest(x, y);
  }
  void operator()(const ConcatLayer&) const {
    int channel = 0;
    for (Value v : node.inputs) {
      const int channels = network.graph_.shape(v).c;
      ops.elementwise->copy(network.value(v), y.channels(channel, channels), false);
      channel += channels;
    }
  }
  void operator()(const AddLayer& layer) const {
    require_as_written(!layer.relu);
    ops.elementwise->add(x, input(1), layer.factor, y, false);
  }
};

/// Adds to the gradients of the node's inputs, and writes those of its parameters.
struct NaiveNetwork::Backward {
  NaiveNetwork& network;
  size_t i;
  const StepState& state;
  const Node& node = network.graph_.nodes()[i];
  Ops& ops = network.ops_;
  Tensor x = network.value(node.inputs[0]), y = network.value(node.output);
  Tensor dx = network.gradient(node.inputs[0]), dy = network.gradient(node.output);

  Tensor parameter(size_t which) const { return network.parameter(node, which); }
  Tensor gradient(size_t which) const { return network.parameter_gradient(node, which); }
  Tensor input(size_t which) const { return network.value(node.inputs[which]); }
  Tensor input_gradient(size_t which) const { return network.gradient(node.inputs[which]); }

  void operator()(const ConvLayer& layer) const {
    check_as_written(layer);
    ConvDesc desc = network.graph_.conv_desc(node);
    desc.backward = true;
    PackedConv conv(*ops.conv, desc, parameter(0), parameter(1));
    conv.conv->backward_weights(x, dy, gradient(0), conv.workspace.data());
    if (desc.bias) write_to(gradient(1), sums_of_channels(dy));
    add_made(x.shape, dx, [&](const Tensor& part) {
      conv.conv->backward_data(dy, conv.packed.data(), part, conv.workspace.data());
    });
  }
  void operator()(const ConvTransposeLayer& layer) const {
    const Tensor weights = parameter(0);
    std::vector<double> sums(elements(x.shape)), dweights(elements(weights.shape));
    for_each_product(x.shape, dy.shape, layer, [&](size_t in, size_t weight, size_t out) {
      sums[in] += at(dy, out) * at(weights, weight);
      dweights[weight] += at(dy, out) * at(x, in);
    });
    add_to(dx, sums);
    write_to(gradient(0), dweights);
    if (node.parameters.size() > 1) write_to(gradient(1), sums_of_channels(dy));
  }
  void operator()(const BatchNormLayer& norm) const {
    check_as_written(norm);
    Tensor dgamma = gradient(0);
    std::vector<float> unread(to_size(x.shape.c));  // of a scale that is not trained
    if (dgamma.data == nullptr) dgamma = Tensor(unread.data(), {1, 1, 1, x.shape.c}, DType::f32);
    add_made(x.shape, dx, [&](const Tensor& part) {
      ops.norm->backward(norm.desc, x, dy, {}, parameter(0), parameter(1), network.saved(i, 0),
                         network.saved(i, 1), {}, part, dgamma, gradient(1), nullptr);
    });
  }
  void operator()(const ActivationLayer& layer) const {
    ops.activation->activate_backward(layer.kind, gradient_reads_input(layer.kind) ? x : y, dy, dx,
                                      true);
  }
  void operator()(const DropoutLayer& layer) const {
    ops.activation->dropout_backward(dy, dx, {layer.p, network.seed_, layer.id, &state}, true);
  }
  void operator()(const DropPathLayer& layer) const {
    ops.activation->drop_path(dy, dx, {layer.p, network.seed_, layer.id, &state}, true);
  }
  void operator()(const MaxPoolLayer& layer) const {
    require_as_written(!layer.joined);
    ops.pool->max_backward(layer.desc, dy, network.index(i), dx, true);
  }
  void operator()(const AveragePoolLayer& layer) const {
    ops.pool->average_backward(layer.desc, dy, dx, true);
  }
  void operator()(const GlobalAveragePoolLayer&) const { ops.channel->mean_backward(dy, dx, true); }
  void operator()(const GridAveragePoolLayer& layer) const {
    ops.pool->average_backward(windows_of(layer), dy, dx, true);
  }
  void operator()(const MultiplyLayer&) const {
    ops.elementwise->multiply(dy, input(1), dx, true);
    if (input(1).shape == x.shape) {
      ops.elementwise->multiply(dy, x, input_gradient(1), true);
    } else {
      ops.elementwise->dot(dy, x, input_gradient(1), true);
    }
  }
  void operator()(const DotLayer&) const {
    ops.elementwise->multiply(input(1), dy, dx, true);
    ops.elementwise->multiply(x, dy, input_gradient(1), true);
  }
  void operator()(const ScaleLayer&) const {
    add_made(input(1).shape, input_gradient(1), [&](const Tensor& part) {
      ops.channel->scale_backward(x, input(1), dy, dx, true, part, nullptr);
    });
  }
  void operator()(const SqueezeExciteLayer&) const { require_as_written(false); }
  void operator()(const UpsampleLayer& layer) const {
    layer.bilinear ? ops.upsample->bilinear_backward(dy, dx, layer.corners, true)
                   : ops.upsample->nearest_backward(dy, dx, true);
  }
  void operator()(const ConcatLayer&) const {
    int channel = 0;
    for (Value v : node.inputs) {
      const int channels = network.graph_.shape(v).c;
      ops.elementwise->copy(dy.channels(channel, channels), network.gradient(v), true);
      channel += channels;
    }
  }
  void operator()(const AddLayer& layer) const {
    require_as_written(!layer.relu);
    ops.elementwise->copy(dy, dx, true);
    ops.elementwise->scale(dy, layer.factor, input_gradient(1), true);
  }

 private:
  /// Adds to `sum` what make(tensor of that shape) writes.
  template <typename Make>
  void add_made(Shape shape, const Tensor& sum, Make&& make) const {
    std::vector<float> values(elements(shape));
    const Tensor part(values.data(), shape, DType::f32);
    make(part);
    ops.elementwise->copy(part, sum, true);
  }
};

void NaiveNetwork::forward(const StepState& state) {
  for (size_t i = 0; i < graph_.nodes().size(); ++i) {
    std::visit(Forward{*this, i, state}, graph_.nodes()[i].layer);
  }
}

LossValues NaiveNetwork::loss(const LossDesc& desc, const Tensor& class_weights) {
  for (std::vector<float>& g : memory_.gradients) std::fill(g.begin(), g.end(), 0.0f);
  LossValues values = loss_of(graph_.output(), desc, class_weights);
  if (!training_) return values;
  for (const AuxiliaryOutput& output : graph_.auxiliary_outputs()) {
    LossDesc weighted = desc;
    for (LossTerm& term : weighted.terms) term.weight *= output.weight;
    values.total += loss_of(output.value, weighted, class_weights).total;
  }
  return values;
}

LossValues NaiveNetwork::loss_of(Value scores, const LossDesc& desc, const Tensor& class_weights) {
  LossValues values;
  const Tensor of_scores = value(scores);
  std::vector<double> workspace(ops_.loss->workspace_bytes(desc, of_scores.shape) / sizeof(double));
  ops_.loss->run(desc, of_scores, labels(), class_weights, training_ ? gradient(scores) : Tensor(),
                 &values, workspace.data());
  return values;
}

void NaiveNetwork::backward(const StepState& state) {
  for (size_t i = graph_.nodes().size(); i-- > 0;) {
    std::visit(Backward{*this, i, state}, graph_.nodes()[i].layer);
  }
}

}  // namespace macadam::testing
