#include "models/onnx/translate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <span>
#include <tuple>
#include <utility>

#include "base/to_size.h"
#include "engine/graph/folding.h"
#include "engine/graph/rewrite.h"
#include "engine/plan/parameters.h"
#include "models/onnx/extents.h"
#include "models/onnx/grid_means.h"
#include "models/onnx/layer_visit.h"
#include "models/onnx/writer.h"

namespace macadam {

namespace {

using Ints = OnnxWriter::Ints;
using Attributes = OnnxWriter::Attributes;

/// {top, left, bottom, right}, as ONNX has them.
Ints pads(const Padding& p) { return {p.top, p.left, p.bottom, p.right}; }

Attributes pool_attributes(const PoolDesc& desc) {
  Attributes attributes{{"kernel_shape", Ints{desc.kernel_h, desc.kernel_w}},
                        {"strides", Ints{desc.stride_h, desc.stride_w}},
                        {"pads", pads(desc.padding)}};
  if (desc.ceil_mode) attributes.emplace_back("ceil_mode", int64_t{1});
  return attributes;
}

/// The same windows over images of one size without ceil_mode, in which runtimes differ: the last
/// window's missing pixels become padding.
PoolDesc without_ceil_mode(PoolDesc desc, const Shape& in, const Shape& out) {
  if (!desc.ceil_mode) return desc;
  const auto behind = [](int outputs, int stride, int kernel, int before, int inputs, int after) {
    return std::max(after, (outputs - 1) * stride + kernel - before - inputs);
  };
  Padding& p = desc.padding;
  p.bottom = behind(out.h, desc.stride_h, desc.kernel_h, p.top, in.h, p.bottom);
  p.right = behind(out.w, desc.stride_w, desc.kernel_w, p.left, in.w, p.right);
  desc.ceil_mode = false;
  return desc;
}

/// As it is written: what training alone has is gone, and with `fold` what weights can compute.
Graph written_graph(const Graph& graph, bool fold) {
  return fold ? for_inference(graph) : remove_dropout(remove_auxiliary_outputs(graph));
}

class Translator : private OnnxWriter {
 public:
  Translator(const Graph& graph, const std::map<std::string, ModelTensor>& parameters,
             const OnnxOptions& options, std::string_view file)
      : graph_(written_graph(graph, options.fold_batch_norm)),
        parameters_(parameters),
        options_(options),
        file_(file),
        extents_(same_extent(graph)),
        tensor_of_(to_size(graph.values())) {
    taken_ = {"image", "logits", "mask"};
    for (const ParameterSpec& spec : graph_.parameters()) taken_.insert(spec.name);
    // Of values of one size, the first that is there when weights compute what lies between.
    std::vector<Value> there(extents_.size());
    there[0] = graph_.input();
    for (const Node& node : graph_.nodes()) {
      Value& first = there[to_size(extents_[to_size(node.output.id)].id)];
      if (first.id < 0) first = node.output;
    }
    for (Value& v : extents_) v = there[to_size(v.id)];
    tensor(graph_.input()) = "image";
    tensor(graph_.output()) = "logits";
  }

  OnnxModel translate() {
    const Shape input = graph_.shape(graph_.input());
    const Shape output = graph_.shape(graph_.output());
    model_.input = {
        tensor(graph_.input()),
        OnnxType::f32,
        {batch(), input.c, extent(graph_.input(), "height"), extent(graph_.input(), "width")}};
    const OnnxDim height = extent(graph_.output(), "height");
    const OnnxDim width = extent(graph_.output(), "width");
    if (options_.argmax) {
      model_.output = {"mask", OnnxType::i64, {batch(), height, width}};
    } else {
      model_.output = {"logits", OnnxType::f32, {batch(), output.c, height, width}};
    }
    for (const Node& node : graph_.nodes()) visit_layer(*this, node, file_);
    if (options_.argmax) {
      emit("ArgMax", model_.output.name, {"logits"}, model_.output.name,
           {{"axis", int64_t{1}}, {"keepdims", int64_t{0}}});
    }
    return std::move(model_);
  }

  // visit_layer's: one function a kind of layer.
  void layer(const Node& node, const ConvLayer& conv);
  void layer(const Node& node, const ConvTransposeLayer& conv);
  void layer(const Node& node, const BatchNormLayer& norm);
  void layer(const Node& node, const ActivationLayer& activation);
  void layer(const Node& node, const MaxPoolLayer& pool) {
    emit("MaxPool", node, pool_attributes(windows(node, pool.desc)));
  }
  void layer(const Node& node, const AveragePoolLayer& pool);
  void layer(const Node& node, const GlobalAveragePoolLayer&) { emit("GlobalAveragePool", node); }
  void layer(const Node& node, const GridAveragePoolLayer& grid);
  void layer(const Node& node, const ScaleLayer&) { emit("Mul", node); }
  void layer(const Node& node, const MultiplyLayer&) { emit("Mul", node); }
  void layer(const Node& node, const DotLayer&) {
    const std::string product = emit_part("Mul", title(node) + ".product", inputs(node));
    emit("ReduceSum", node, {product, integers({1})}, {});
  }
  void layer(const Node& node, const UpsampleLayer& upsample);
  void layer(const Node& node, const ConcatLayer&) { emit("Concat", node, {{"axis", int64_t{1}}}); }
  void layer(const Node& node, const AddLayer& add) {
    require(!add.relu, "a graph that no rewrite has touched");
    std::vector<std::string> terms = inputs(node);
    if (add.factor != 1) {
      terms[1] = emit_part("Mul", title(node) + ".scaled", {terms[1], scalar(add.factor)});
    }
    emit("Add", node, std::move(terms), {});
  }

 private:
  // Names. -----------------------------------------------------------------------------------

  std::string& tensor(Value v) { return tensor_of_[to_size(v.id)]; }

  std::vector<std::string> inputs(const Node& node) {
    std::vector<std::string> names;
    for (Value v : node.inputs) names.push_back(tensor(v));
    return names;
  }

  /// What people call a layer: its own name, or its kind and the number of its output.
  static std::string title(const Node& node) {
    if (!node.name.empty()) return node.name;
    return fmt::format("{}_{}", kind_of(node.layer), node.output.id);
  }

  // Nodes. -----------------------------------------------------------------------------------

  using OnnxWriter::emit;

  /// The tensor that a node called `name` makes for the layer's output.
  const std::string& made_by(const Node& node, const std::string& name) {
    std::string& output = tensor(node.output);
    if (output.empty()) output = name;
    return output;
  }

  /// The layer's node, which makes the tensor of its output.
  void emit(std::string op, const Node& node, std::vector<std::string> inputs,
            Attributes attributes) {
    const std::string name = unique(title(node));
    emit(std::move(op), name, std::move(inputs), made_by(node, name), std::move(attributes));
  }
  void emit(std::string op, const Node& node, Attributes attributes = {}) {
    emit(std::move(op), node, inputs(node), std::move(attributes));
  }

  // Constants. -------------------------------------------------------------------------------

  const ParameterSpec& spec(const Node& node, size_t which) const {
    return graph_.parameters()[to_size(node.parameters[which])];
  }

  const std::vector<float>& values(const ParameterSpec& spec) const {
    const auto found = parameters_.find(spec.name);
    if (found == parameters_.end()) {
      throw InputError(fmt::format("the parameter '{}' is missing", spec.name), file_,
                       "load the weights of this network");
    }
    const ModelTensor& parameter = found->second;
    if (parameter.shape != spec.file_shape() ||
        parameter.values.size() != to_size(spec.shape.elements())) {
      throw InputError(
          fmt::format("the parameter '{}' has the shape [{}] instead of [{}]", spec.name,
                      fmt::join(parameter.shape, ", "), fmt::join(spec.file_shape(), ", ")),
          file_, "load the weights of this network");
    }
    return parameter.values;
  }

  using OnnxWriter::constant;
  std::string constant(const ParameterSpec& spec) {
    return constant(spec.name, spec.file_shape(), values(spec));
  }

  // Weights that compute what followed them. -----------------------------------------------------

  struct WeightsAndBiasNames {
    std::string weights, bias;
  };
  WeightsAndBiasNames norm_constants(const Node& node, const ConvLayer& conv);
  WeightsAndBiasNames branch_constants(const Node& node, const ConvLayer& conv);

  // Windows. ---------------------------------------------------------------------------------

  /// A pooling's windows, with ceil_mode only where the size is not known.
  PoolDesc windows(const Node& node, const PoolDesc& desc) const {
    if (options_.dynamic) return desc;
    return without_ceil_mode(desc, graph_.shape(node.inputs[0]), graph_.shape(node.output));
  }

  // Sizes. -----------------------------------------------------------------------------------

  OnnxDim batch() const {
    if (options_.dynamic) return "batch";
    return graph_.shape(graph_.input()).n;
  }

  /// The height or the width of a value.
  OnnxDim extent(Value v, const std::string& which) const {
    const Shape shape = graph_.shape(v);
    const Value size = extents_[to_size(v.id)];
    if (options_.dynamic && size == graph_.input()) return which;
    if (options_.dynamic && !always_one_pixel(size)) return "logits_" + which;
    return which == "height" ? shape.h : shape.w;
  }

  bool always_one_pixel(Value v) const {
    for (const Node& node : graph_.nodes()) {
      if (node.output == v) return std::holds_alternative<GlobalAveragePoolLayer>(node.layer);
    }
    return false;
  }

  /// A tensor with the elements [first, last) of a value's shape {N, C, H, W}.
  std::string runtime_shape(Value v, int64_t first, int64_t last) {
    std::string& shape = shapes_[v.id];
    if (shape.empty()) shape = emit_part("Shape", tensor(v) + ".shape", {tensor(v)});
    std::string& part = shape_parts_[{v.id, first, last}];
    if (part.empty()) {
      const char* kind = first == 0 ? ".batch" : last - first == 2 ? ".size" : ".side";
      part = emit_part("Slice", tensor(v) + kind,
                       {shape, integers({first}), integers({last}), integers({0})});
    }
    return part;
  }

  Graph graph_;  // without dropout
  const std::map<std::string, ModelTensor>& parameters_;
  const OnnxOptions& options_;
  std::string_view file_;
  std::vector<Value> extents_;          // by value
  std::vector<std::string> tensor_of_;  // by value; "" until its node is emitted
  std::map<int, std::string> shapes_;   // by value
  std::map<std::tuple<int, int64_t, int64_t>, std::string> shape_parts_;  // by value and elements
};

void Translator::layer(const Node& node, const ConvLayer& conv) {
  require(conv.activation == Activation::identity && conv.dropout == 0,
          "a graph that no rewrite has touched");
  std::vector<std::string> names = inputs(node);
  if (folds_weights(conv)) {
    const auto [weights, bias] =
        conv.branches.empty() ? norm_constants(node, conv) : branch_constants(node, conv);
    names.insert(names.end(), {weights, bias});
  } else {
    for (size_t i = 0; i < node.parameters.size(); ++i) names.push_back(constant(spec(node, i)));
  }
  emit("Conv", node, std::move(names),
       {{"kernel_shape", Ints{conv.kernel_h, conv.kernel_w}},
        {"strides", Ints{conv.stride, conv.stride}},
        {"pads", pads(conv.padding)},
        {"dilations", Ints{conv.dilation, conv.dilation}},
        {"group", int64_t{conv.groups}}});
}

/// y = gamma * (conv + bias - mean) / sqrt(var + eps) + beta, as weights and a bias; in double,
/// rounded once.
Translator::WeightsAndBiasNames Translator::norm_constants(const Node& node,
                                                           const ConvLayer& conv) {
  const size_t norm = node.parameters.size() - 4;  // the first of its parameters
  const std::vector<float>& gamma = values(spec(node, norm));
  const std::vector<float>& beta = values(spec(node, norm + 1));
  const std::vector<float>& mean = values(spec(node, norm + 2));
  const std::vector<float>& variance = values(spec(node, norm + 3));
  const auto eps = static_cast<double>(conv.folded_norm->eps);

  std::vector<float> weights = values(spec(node, 0));
  std::vector<float> bias(gamma.size(), 0.0f);
  if (conv.bias) bias = values(spec(node, 1));
  const size_t per_channel = weights.size() / gamma.size();
  for (size_t k = 0; k < gamma.size(); ++k) {
    const double scale =
        static_cast<double>(gamma[k]) / std::sqrt(static_cast<double>(variance[k]) + eps);
    for (float& w : std::span(weights).subspan(k * per_channel, per_channel)) {
      w = static_cast<float>(static_cast<double>(w) * scale);
    }
    const double centered = static_cast<double>(bias[k]) - static_cast<double>(mean[k]);
    bias[k] = static_cast<float>(centered * scale + static_cast<double>(beta[k]));
  }
  const ParameterSpec& weight_spec = spec(node, 0);
  const std::string bias_name = conv.bias ? spec(node, 1).name : unique(title(node) + ".bias");
  return {constant(weight_spec.name, weight_spec.file_shape(), weights),
          constant(bias_name, spec(node, norm + 1).file_shape(), bias)};
}

/// The sum of the branches' weights, as plans compute it.
Translator::WeightsAndBiasNames Translator::branch_constants(const Node& node,
                                                             const ConvLayer& conv) {
  DeviceContext cpu;
  std::vector<ParameterSpec> specs;
  for (size_t i = 0; i < node.parameters.size(); ++i) specs.push_back(spec(node, i));
  Parameters given(specs, cpu.stream, false);
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < specs.size(); ++i) {
    given.write(i, Parameters::Field::value, values(specs[i]));
    tensors.push_back(given.value(i));
  }
  const Shape shape = graph_.conv_desc(node).weights();
  const Buffer memory(cpu.device(), folding_bytes(conv, shape));
  const WeightsAndBias folded = fold_weights(conv, shape, tensors, memory.data(), cpu.ops);

  const std::array<ParameterSpec, 2> sums{
      {{unique(title(node) + ".weight"), shape, ParameterRole::conv_weight},
       {unique(title(node) + ".bias"), folded.bias.shape, ParameterRole::bias}}};
  Parameters made(sums, cpu.stream, false);
  cpu.ops.elementwise->copy(folded.weights, made.value(0), false);
  cpu.ops.elementwise->copy(folded.bias, made.value(1), false);
  const auto written = [&](size_t i) {
    return constant(sums[i].name, sums[i].file_shape(), made.read(i, Parameters::Field::value));
  };
  return {written(0), written(1)};
}

void Translator::layer(const Node& node, const ConvTransposeLayer& conv) {
  std::vector<std::string> names = inputs(node);
  for (size_t i = 0; i < node.parameters.size(); ++i) names.push_back(constant(spec(node, i)));
  emit("ConvTranspose", node, std::move(names),
       {{"kernel_shape", Ints{conv.kernel, conv.kernel}},
        {"strides", Ints{conv.stride, conv.stride}}});
}

void Translator::layer(const Node& node, const BatchNormLayer& norm) {
  require(norm.desc.activation == Activation::identity, "a graph that no rewrite has touched");
  std::vector<std::string> names = inputs(node);
  for (size_t i = 0; i < node.parameters.size(); ++i) names.push_back(constant(spec(node, i)));
  emit("BatchNormalization", node, std::move(names), {{"epsilon", norm.desc.eps}});
}

void Translator::layer(const Node& node, const ActivationLayer& activation) {
  switch (activation.kind) {
    case Activation::identity: emit("Identity", node); return;
    case Activation::relu: emit("Relu", node); return;
    case Activation::relu6:
      emit("Clip", node, {tensor(node.inputs[0]), scalar(0), scalar(6)}, {});
      return;
    case Activation::sigmoid: emit("Sigmoid", node); return;
    case Activation::hardswish: emit("HardSwish", node); return;
    case Activation::hardsigmoid:
      emit("HardSigmoid", node, {{"alpha", 1.0f / 6}, {"beta", 0.5f}});
      return;
    case Activation::silu: {
      const std::string& x = tensor(node.inputs[0]);
      const std::string gate = emit_part("Sigmoid", title(node) + ".sigmoid", {x});
      emit("Mul", node, {x, gate}, {});
      return;
    }
  }
  require(false, "an activation");
}

// What a window in ceil_mode has beyond the padding is not counted, which no attribute says: then
// the padding becomes zeros of the image.
void Translator::layer(const Node& node, const AveragePoolLayer& pool) {
  PoolDesc desc = windows(node, pool.desc);
  const Padding& given = pool.desc.padding;
  std::vector<std::string> names = inputs(node);
  if (pool.desc.ceil_mode && pool.desc.count_padding && given != Padding{}) {
    if (desc.ceil_mode && (given.bottom > 0 || given.right > 0)) {
      throw InputError(
          fmt::format("which windows the layer '{}' has depends on the size", title(node)), file_,
          "export for one size");
    }
    names.push_back(integers({0, 0, given.top, given.left, 0, 0, given.bottom, given.right}));
    names = {emit_part("Pad", title(node) + ".padded", std::move(names))};
    desc.padding = {.left = 0,
                    .right = desc.padding.right - given.right,
                    .top = 0,
                    .bottom = desc.padding.bottom - given.bottom};
    desc.count_padding = false;
  } else if (pool.desc.ceil_mode) {
    desc.count_padding = false;  // there is none but what ceil_mode adds
  }
  Attributes attributes = pool_attributes(desc);
  attributes.emplace_back("count_include_pad", int64_t{desc.count_padding});
  emit("AveragePool", node, std::move(names), std::move(attributes));
}

void Translator::layer(const Node& node, const GridAveragePoolLayer& grid) {
  const std::string name = unique(title(node));
  const Value size = extents_[to_size(node.inputs[0].id)];
  const Shape shape = graph_.shape(size);
  const auto pixels = [&](int64_t axis, int fixed) {
    return options_.dynamic ? runtime_shape(size, axis, axis + 1) : integers({fixed});
  };
  const std::string height = pixels(2, shape.h), width = pixels(3, shape.w);
  const bool by_ratio = options_.dynamic && grid.keeps_ratio;
  const std::string columns =
      by_ratio ? columns_of_ratio(*this, name, height, width, grid.rows) : integers({grid.columns});
  emit_grid_means(*this, name, tensor(node.inputs[0]), {height, integers({grid.rows})},
                  {width, columns}, made_by(node, name));
}

void Translator::layer(const Node& node, const UpsampleLayer& upsample) {
  const Shape shape = graph_.shape(node.output);
  std::string sizes;
  if (!options_.dynamic) {
    sizes = integers({shape.n, shape.c, shape.h, shape.w});
  } else if (upsample.like.id < 0) {
    throw InputError(fmt::format("the layer '{}' always makes {}x{} pixels, whatever the image",
                                 title(node), shape.h, shape.w),
                     file_, "export for one size");
  } else {
    const Value like = extents_[to_size(upsample.like.id)];
    sizes = emit_part(
        "Concat", title(node) + ".sizes",
        {runtime_shape(graph_.input(), 0, 1), integers({shape.c}), runtime_shape(like, 2, 4)},
        {{"axis", int64_t{0}}});
  }
  // Runtimes find the source pixel in fp32. Twice the size is exact; at some other ratios a few of
  // them take a nearest neighbour's neighbour (ONNX Runtime: 14 to 16, say).
  Attributes attributes;
  if (upsample.bilinear) {
    attributes = {
        {"mode", "linear"},
        {"coordinate_transformation_mode", upsample.corners ? "align_corners" : "half_pixel"}};
  } else {
    attributes = {{"mode", "nearest"},
                  {"coordinate_transformation_mode", "asymmetric"},
                  {"nearest_mode", "floor"}};
  }
  emit("Resize", node, {tensor(node.inputs[0]), "", "", sizes}, std::move(attributes));
}

}  // namespace

OnnxModel translate(const Graph& graph, const std::map<std::string, ModelTensor>& parameters,
                    const OnnxOptions& options, std::string_view file) {
  require(graph.output().id > 0, "a network with an output of its own");
  return Translator(graph, parameters, options, file).translate();
}

}  // namespace macadam
