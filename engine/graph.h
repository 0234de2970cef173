#pragma once
// What a network is: a list of layers over values, with named parameters and inferred shapes.
// A graph is data. It is built by a function of models/, rewritten by passes (rewrite.h) and
// compiled into a plan (plan.h).

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/conv.h"
#include "kernels/norm.h"
#include "kernels/pool.h"
#include "kernels/tensor.h"

namespace macadam {

/// The index of a value (an activation tensor) in its graph.
struct Value {
  int id = -1;
  bool operator==(const Value&) const = default;
};

/// What a parameter is, which decides its initial values, its decay and how files store it.
enum class ParameterRole : uint8_t {
  conv_weight,   // {K, kh, kw, C/g}; files hold PyTorch's {K, C/g, kh, kw}
  bias,          // {1, 1, 1, K}
  norm_scale,    // gamma
  norm_shift,    // beta
  running_mean,  // not trained
  running_var,   // not trained
};

/// Initial distribution of convolution weights.
enum class Init : uint8_t {
  he_normal,       // He et al., 2015: N(0, 2 / fan_in), for layers followed by a ReLU
  glorot_uniform,  // Glorot and Bengio, 2010: U(+-sqrt(6 / (fan_in + fan_out)))
};

struct ParameterSpec {
  std::string name;  // unique; "enc1.conv1.weight"
  Shape shape;
  ParameterRole role = ParameterRole::bias;
  Init init = Init::he_normal;

  bool trainable() const {
    return role != ParameterRole::running_mean && role != ParameterRole::running_var;
  }
  /// The shape as files and PyTorch have it: {K, C/g, kh, kw} or {C}.
  std::vector<int64_t> file_shape() const;
};

struct ConvLayer {
  int out_channels = 0;
  int kernel_h = 3, kernel_w = 3;
  int stride = 1, dilation = 1, groups = 1;
  Padding padding = Padding::all(1);
  bool bias = true;
  Init init = Init::he_normal;
  // Set by rewrites:
  bool relu = false;
  float dropout = 0;  // after the ReLU; 0 = none
  uint32_t dropout_id = 0;
};
struct BatchNormLayer {
  BatchNormDesc desc;
};
struct ReluLayer {};
struct DropoutLayer {
  float p = 0.5f;
  uint32_t id = 0;  // keys the random mask: the n-th dropout of the graph
};
struct MaxPoolLayer {
  PoolDesc desc;
};
struct AveragePoolLayer {
  PoolDesc desc;
};
struct UpsampleLayer {
  int height = 0, width = 0;
  bool bilinear = false;
};
struct ConcatLayer {};
struct AddLayer {
  bool relu = false;  // set by rewrites
};

using LayerSpec = std::variant<ConvLayer, BatchNormLayer, ReluLayer, DropoutLayer, MaxPoolLayer,
                               AveragePoolLayer, UpsampleLayer, ConcatLayer, AddLayer>;

struct Node {
  std::string name;  // of the layer, for people and parameter names; may be empty
  LayerSpec layer;
  std::vector<Value> inputs;
  Value output;
  std::vector<int> parameters;  // indices into Graph::parameters()
};

/// "conv", "batch_norm", … of a node's layer.
std::string_view kind_of(const LayerSpec& layer);

/// Values are numbered in topological order; value 0 is the input.
class Graph {
 public:
  explicit Graph(Shape input);

  Value input() const { return Value{0}; }
  /// The shape of a value. Requires a value of this graph.
  Shape shape(Value v) const;

  // Builders: each appends one node and returns its output. They throw InputError naming the layer
  // when the input does not fit (a kernel larger than the padded image, a concat of two sizes, …).
  // Parameters: NAME.weight, NAME.bias, and for batch norm .running_mean, .running_var.
  Value conv(Value x, std::string_view name, const ConvLayer& layer);
  Value batch_norm(Value x, std::string_view name, const BatchNormDesc& desc = {});
  Value relu(Value x);
  Value dropout(Value x, float p);
  Value max_pool(Value x, const PoolDesc& desc = {});
  Value average_pool(Value x, const PoolDesc& desc);
  Value upsample(Value x, int height, int width, bool bilinear = false);
  Value concat(std::vector<Value> values);
  Value add(Value a, Value b);
  /// Declares the class scores.
  void set_output(Value v) { output_ = v; }

  Value output() const { return output_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<ParameterSpec>& parameters() const { return parameters_; }
  int values() const { return static_cast<int>(shapes_.size()); }
  /// Number of trained scalars.
  int64_t parameter_count() const;
  /// Multiply-adds of all convolutions for the whole batch.
  int64_t macs() const;

  /// The convolution that a node performs; requires a ConvLayer node.
  ConvDesc conv_desc(const Node& node) const;

  /// A graph with the same values and parameters and other nodes (for rewrites).
  Graph with_nodes(std::vector<Node> nodes, Value output) const;

 private:
  Value append(std::string_view name, LayerSpec layer, std::vector<Value> inputs, Shape shape,
               std::vector<int> parameters = {});
  int add_parameter(std::string name, Shape shape, ParameterRole role, Init init = Init::he_normal);

  std::vector<Shape> shapes_;  // by value
  std::vector<Node> nodes_;
  std::vector<ParameterSpec> parameters_;
  Value output_;
  uint32_t dropouts_ = 0;
};

}  // namespace macadam
