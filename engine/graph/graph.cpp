#include "engine/graph/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/to_size.h"

namespace macadam {

namespace {

void check_fits(bool fits, std::string_view layer, std::string_view what, Shape input) {
  if (!fits) {
    throw InputError(std::string(what), fmt::format("layer {} with input {}", layer, input.text()),
                     "choose a larger size, or one that the network's strides divide");
  }
}

ConvDesc describe(const ConvLayer& layer, Shape input) {
  ConvDesc desc;
  desc.input = input;
  desc.out_channels = layer.out_channels;
  desc.kernel_h = layer.kernel_h;
  desc.kernel_w = layer.kernel_w;
  desc.stride = layer.stride;
  desc.dilation = layer.dilation;
  desc.padding = layer.padding;
  desc.groups = layer.groups;
  desc.bias = layer.shifts();
  desc.activation = layer.activation;
  return desc;
}

struct KindName {
  std::string_view operator()(const ConvLayer&) const { return "conv"; }
  std::string_view operator()(const ConvTransposeLayer&) const { return "conv_transpose"; }
  std::string_view operator()(const BatchNormLayer&) const { return "batch_norm"; }
  std::string_view operator()(const ActivationLayer& layer) const { return name_of(layer.kind); }
  std::string_view operator()(const DropoutLayer&) const { return "dropout"; }
  std::string_view operator()(const DropPathLayer&) const { return "drop_path"; }
  std::string_view operator()(const SqueezeExciteLayer&) const { return "squeeze_excite"; }
  std::string_view operator()(const MaxPoolLayer&) const { return "max_pool"; }
  std::string_view operator()(const AveragePoolLayer&) const { return "average_pool"; }
  std::string_view operator()(const GlobalAveragePoolLayer&) const { return "global_average"; }
  std::string_view operator()(const GridAveragePoolLayer&) const { return "grid_average"; }
  std::string_view operator()(const ScaleLayer&) const { return "scale"; }
  std::string_view operator()(const MultiplyLayer&) const { return "multiply"; }
  std::string_view operator()(const DotLayer&) const { return "dot"; }
  std::string_view operator()(const UpsampleLayer&) const { return "upsample"; }
  std::string_view operator()(const ConcatLayer&) const { return "concat"; }
  std::string_view operator()(const AddLayer&) const { return "add"; }
};

}  // namespace

std::vector<int64_t> ParameterSpec::file_shape() const {
  if (role == ParameterRole::conv_weight) return {shape.n, shape.c, shape.h, shape.w};
  return {shape.c};
}

bool is_joined(const LayerSpec& layer) {
  const auto* max = std::get_if<MaxPoolLayer>(&layer);
  const auto* mean = std::get_if<GlobalAveragePoolLayer>(&layer);
  return (max != nullptr && max->joined) || (mean != nullptr && mean->joined);
}

std::string_view kind_of(const LayerSpec& layer) { return std::visit(KindName{}, layer); }

Graph::Graph(Shape input) : shapes_{input}, stored_{input.c} {
  require(input.n > 0 && input.h > 0 && input.w > 0 && input.c > 0, "the input is not empty");
}

Shape Graph::shape(Value v) const {
  require(v.id >= 0 && v.id < values(), "the value belongs to this graph");
  return shapes_[to_size(v.id)];
}

int Graph::stored_channels(Value v) const {
  require(v.id >= 0 && v.id < values(), "the value belongs to this graph");
  return stored_[to_size(v.id)];
}

void Graph::store_in(Value v, int channels) {
  require(channels >= shape(v).c, "a value fits the tensor that holds it");
  stored_[to_size(v.id)] = channels;
}

Value Graph::append(std::string_view name, LayerSpec layer, std::vector<Value> inputs, Shape shape,
                    std::vector<int> parameters) {
  const Value output{values()};
  shapes_.push_back(shape);
  stored_.push_back(shape.c);
  nodes_.push_back(
      {std::string(name), std::move(layer), std::move(inputs), output, std::move(parameters)});
  return output;
}

int Graph::add_parameter(std::string name, Shape shape, ParameterRole role, Init init) {
  for (const ParameterSpec& other : parameters_) {
    require(other.name != name, "parameter names are unique");
  }
  parameters_.push_back({std::move(name), shape, role, init});
  return static_cast<int>(parameters_.size()) - 1;
}

Value Graph::conv(Value x, std::string_view name, const ConvLayer& layer) {
  const Shape in = shape(x);
  require(layer.groups > 0 && in.c % layer.groups == 0 && layer.out_channels % layer.groups == 0,
          "groups divide the channels");
  const ConvDesc desc = describe(layer, in);
  const Shape out = desc.output();
  check_fits(out.h > 0 && out.w > 0, name, "the kernel is larger than the image", in);
  std::vector<int> parameters{add_parameter(std::string(name) + ".weight", desc.weights(),
                                            ParameterRole::conv_weight, layer.init)};
  if (layer.bias) {
    parameters.push_back(add_parameter(std::string(name) + ".bias", {1, 1, 1, layer.out_channels},
                                       ParameterRole::bias));
  }
  return append(name, layer, {x}, out, std::move(parameters));
}

Value Graph::conv_transpose(Value x, std::string_view name, const ConvTransposeLayer& layer) {
  require(layer.kernel > 0 && layer.stride > 0, "a positive kernel and stride");
  const Shape in = shape(x);
  const Shape out{in.n, (in.h - 1) * layer.stride + layer.kernel,
                  (in.w - 1) * layer.stride + layer.kernel, layer.out_channels};
  std::vector<int> parameters{add_parameter(std::string(name) + ".weight",
                                            {in.c, layer.kernel, layer.kernel, layer.out_channels},
                                            ParameterRole::conv_weight, layer.init)};
  if (layer.bias) {
    parameters.push_back(add_parameter(std::string(name) + ".bias", {1, 1, 1, layer.out_channels},
                                       ParameterRole::bias));
  }
  return append(name, layer, {x}, out, std::move(parameters));
}

Value Graph::batch_norm(Value x, std::string_view name, const BatchNormDesc& desc, bool scale) {
  const Shape in = shape(x);
  const Shape vector{1, 1, 1, in.c};
  const std::string prefix(name);
  std::vector<int> parameters{
      add_parameter(prefix + ".weight", vector,
                    scale ? ParameterRole::norm_scale : ParameterRole::fixed_scale),
      add_parameter(prefix + ".bias", vector, ParameterRole::norm_shift),
      add_parameter(prefix + ".running_mean", vector, ParameterRole::running_mean),
      add_parameter(prefix + ".running_var", vector, ParameterRole::running_var)};
  return append(name, BatchNormLayer{desc}, {x}, in, std::move(parameters));
}

Value Graph::activation(Value x, Activation kind) {
  return append("", ActivationLayer{kind}, {x}, shape(x));
}

Value Graph::dropout(Value x, float p) {
  require(p >= 0 && p < 1, "a dropout probability in [0, 1)");
  return append("", DropoutLayer{p, dropouts_++}, {x}, shape(x));
}

Value Graph::drop_path(Value x, float p) {
  require(p >= 0 && p < 1, "a probability in [0, 1)");
  return append("", DropPathLayer{p, dropouts_++}, {x}, shape(x));
}

Shape Graph::pooled(std::string_view layer, Value x, const PoolDesc& desc) const {
  const auto fits = [](int kernel, int stride, int before, int after) {
    return stride > 0 && before >= 0 && after >= 0 && before < kernel && after < kernel;
  };
  const Padding& p = desc.padding;
  require(!desc.is_grid(), "pooling: windows of one size; grid_average_pool() has the others");
  require(fits(desc.kernel_h, desc.stride_h, p.top, p.bottom) &&
              fits(desc.kernel_w, desc.stride_w, p.left, p.right),
          "pooling: a positive kernel and stride, and on each side less padding than the kernel");
  const Shape out = desc.output(shape(x));
  check_fits(out.h > 0 && out.w > 0, layer, "the window is larger than the image", shape(x));
  return out;
}

Value Graph::max_pool(Value x, const PoolDesc& desc) {
  require(desc.kernel_h * desc.kernel_w <= 255, "max pooling: at most 255 pixels a window");
  return append("", MaxPoolLayer{desc}, {x}, pooled("max_pool", x, desc));
}

Value Graph::average_pool(Value x, const PoolDesc& desc) {
  return append("", AveragePoolLayer{desc}, {x}, pooled("average_pool", x, desc));
}

Value Graph::global_average_pool(Value x) {
  const Shape in = shape(x);
  return append("", GlobalAveragePoolLayer{}, {x}, {in.n, 1, 1, in.c});
}

Value Graph::grid_average_pool(Value x, int rows, int columns) {
  require(rows > 0 && columns > 0, "a grid of windows");
  const Shape in = shape(x);
  return append("", GridAveragePoolLayer{rows, columns, false}, {x}, {in.n, rows, columns, in.c});
}

Value Graph::grid_average_pool(Value x, int rows) {
  require(rows > 0, "a grid of windows");
  const Shape in = shape(x);
  const double columns = std::nearbyint(static_cast<double>(in.w) / in.h * rows);
  const int least = std::max(1, static_cast<int>(columns));
  return append("", GridAveragePoolLayer{rows, least, true}, {x}, {in.n, rows, least, in.c});
}

Value Graph::multiply(Value a, Value b) {
  Shape one = shape(a);
  one.c = 1;
  check_fits(shape(b) == shape(a) || shape(b) == one, "multiply", "inputs of different shapes",
             shape(b));
  return append("", MultiplyLayer{}, {a, b}, shape(a));
}

Value Graph::dot(Value a, Value b) {
  check_fits(shape(a) == shape(b), "dot", "inputs of different shapes", shape(b));
  Shape one = shape(a);
  one.c = 1;
  return append("", DotLayer{}, {a, b}, one);
}

Value Graph::scale(Value x, Value factors) {
  const Shape in = shape(x);
  check_fits(shape(factors) == Shape{in.n, 1, 1, in.c}, "scale", "one factor an image and channel",
             shape(factors));
  return append("", ScaleLayer{}, {x, factors}, in);
}

Value Graph::upsample(Value x, int height, int width, bool bilinear) {
  require(height > 0 && width > 0, "a positive size");
  Shape out = shape(x);
  out.h = height;
  out.w = width;
  return append("", UpsampleLayer{height, width, bilinear, false, {}}, {x}, out);
}

Value Graph::upsample(Value x, Value like, bool bilinear) {
  return upsample_like(x, like, {.bilinear = bilinear, .like = {}});
}

Value Graph::upsample_corners(Value x, Value like) {
  return upsample_like(x, like, {.bilinear = true, .corners = true, .like = {}});
}

Value Graph::upsample_like(Value x, Value like, UpsampleLayer layer) {
  Shape out = shape(x);
  out.h = layer.height = shape(like).h;
  out.w = layer.width = shape(like).w;
  layer.like = like;
  return append("", layer, {x}, out);
}

Value Graph::concat(std::vector<Value> inputs) {
  require(!inputs.empty(), "concat has inputs");
  Shape out = shape(inputs.front());
  out.c = 0;
  for (Value v : inputs) {
    const Shape in = shape(v);
    check_fits(in.h == out.h && in.w == out.w, "concat", "inputs of different sizes", in);
    out.c += in.c;
  }
  return append("", ConcatLayer{}, std::move(inputs), out);
}

Value Graph::add(Value a, Value b, float factor) {
  check_fits(shape(a) == shape(b), "add", "inputs of different shapes", shape(b));
  return append("", AddLayer{.factor = factor}, {a, b}, shape(a));
}

void Graph::carry_parameter(std::string name, Shape shape, ParameterRole role) {
  const int index = add_parameter(std::move(name), shape, role);
  parameters_[to_size(index)].unused = true;
}

void Graph::mark_encoder(std::span<const std::string_view> prefixes) {
  for (ParameterSpec& p : parameters_) {
    p.encoder = std::ranges::any_of(
        prefixes, [&](std::string_view prefix) { return p.name.starts_with(prefix); });
  }
}

int64_t Graph::parameter_count() const {
  int64_t count = 0;
  for (const ParameterSpec& p : parameters_) count += p.learnt() ? p.shape.elements() : 0;
  return count;
}

int64_t Graph::macs() const {
  int64_t sum = 0;
  for (const Node& node : nodes_) sum += macs(node);
  return sum;
}

int64_t Graph::macs(const Node& node) const {
  if (std::holds_alternative<ConvLayer>(node.layer)) return conv_desc(node).macs();
  if (std::holds_alternative<ConvTransposeLayer>(node.layer)) return mirrored_desc(node).macs();
  if (const auto* gates = std::get_if<SqueezeExciteLayer>(&node.layer)) {
    return 2 * shape(node.output).elements() * gates->hidden;
  }
  return 0;
}

ConvDesc Graph::conv_desc(const Node& node) const {
  return describe(std::get<ConvLayer>(node.layer), shape(node.inputs[0]));
}

ConvDesc Graph::mirrored_desc(const Node& node) const {
  const auto& layer = std::get<ConvTransposeLayer>(node.layer);
  ConvDesc desc;
  desc.input = shape(node.output);
  desc.out_channels = shape(node.inputs[0]).c;
  desc.kernel_h = desc.kernel_w = layer.kernel;
  desc.stride = layer.stride;
  return desc;
}

void Graph::add_auxiliary_output(Value v, float weight) {
  require(output_.id >= 0 && !is_output(v) && weight > 0, "an output beside the declared ones");
  require(shape(v) == shape(output_), "auxiliary scores have the shape of the output");
  auxiliary_.push_back({v, weight});
}

bool Graph::is_output(Value v) const {
  return v == output_ ||
         std::ranges::find(auxiliary_, v, &AuxiliaryOutput::value) != auxiliary_.end();
}

Graph Graph::without_auxiliary_outputs() const {
  Graph graph = *this;
  graph.auxiliary_.clear();
  return graph;
}

Graph Graph::with_nodes(std::vector<Node> nodes, Value output) const {
  Graph graph = *this;
  graph.nodes_ = std::move(nodes);
  graph.output_ = output;
  return graph;
}

}  // namespace macadam
