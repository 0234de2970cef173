#pragma once
// What a network is: a list of layers over values, with named parameters and inferred shapes.
// A graph is data. It is built by a function of models/, rewritten by passes (rewrite.h) and
// compiled into a plan (plan.h).

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/activation.h"
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
  fixed_scale,   // a gamma that stays 1; not trained
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
  /// No layer reads it: it is carried along so that files hold all that other tools expect.
  bool unused = false;
  /// Of the network's encoder (Graph::mark_encoder).
  bool encoder = false;

  /// Whether the optimiser changes it.
  bool trainable() const { return !unused && learnt(); }
  /// Whether PyTorch would count it among the trained parameters.
  bool learnt() const {
    return role == ParameterRole::conv_weight || role == ParameterRole::bias ||
           role == ParameterRole::norm_scale || role == ParameterRole::norm_shift;
  }
  /// The shape as files and PyTorch have it: {K, C/g, kh, kw} or {C}.
  std::vector<int64_t> file_shape() const;
};

/// A convolution without groups whose padding keeps the middle of its kernel over the pixel, or
/// with a kernel of 0 none, and a batch norm behind it. Its parameters follow those of the step
/// before in Node::parameters.
struct ConvStep {
  int out_channels = 0, kernel = 0;
  bool bias = false;
  std::optional<BatchNormDesc> norm;

  Shape weights(int channels) const { return {out_channels, kernel, kernel, channels}; }
};
/// Steps after each other: the first of the layer's stride, the others of 1 x 1.
using ConvBranch = std::vector<ConvStep>;

struct ConvLayer {
  int out_channels = 0;
  int kernel_h = 3, kernel_w = 3;
  int stride = 1, dilation = 1, groups = 1;
  Padding padding = Padding::all(1);
  bool bias = true;
  Init init = Init::he_normal;
  // Set by rewrites:
  /// A batch norm behind it that is computed by the weights. Its four parameters follow the
  /// convolution's own in Node::parameters.
  std::optional<BatchNormDesc> folded_norm;
  /// What the weights are the sum of. The node has the parameters of all branches, and none of its
  /// own.
  std::vector<ConvBranch> branches;
  Activation activation = Activation::identity;
  float dropout = 0;  // after a ReLU; 0 = none
  uint32_t dropout_id = 0;

  /// Whether something is added to each output channel.
  bool shifts() const { return bias || folded_norm || !branches.empty(); }
};
/// The transpose of a convolution without padding: each input pixel paints a kernel x kernel patch,
/// patches lie `stride` apart. Output {N, (H-1)*stride+kernel, …}. Weights in files are PyTorch's
/// ConvTranspose2d: {C, K, kernel, kernel}.
struct ConvTransposeLayer {
  int out_channels = 0;
  int kernel = 2, stride = 2;
  bool bias = true;
  Init init = Init::he_normal;
};
/// Where a rewrite has set desc.adds, the second input is added.
struct BatchNormLayer {
  BatchNormDesc desc;
  // Set by rewrites, of stochastic depth before the addition (desc.drop_path is the layer's):
  float drop_path = 0;  // 0 = none
  uint32_t drop_path_id = 0;
};
struct ActivationLayer {
  Activation kind = Activation::relu;
};
struct DropoutLayer {
  float p = 0.5f;
  uint32_t id = 0;  // keys the random mask: the n-th dropout of the graph
};
/// Stochastic depth (Huang et al., 2016): drops whole samples of a residual branch.
struct DropPathLayer {
  float p = 0.2f;
  uint32_t id = 0;
};
struct MaxPoolLayer {
  PoolDesc desc;
  /// Set by rewrites: its gradient is taken by the convolution that makes its input.
  bool joined = false;
};
struct AveragePoolLayer {
  PoolDesc desc;
};
/// The mean over each image: {N, 1, 1, C}.
struct GlobalAveragePoolLayer {
  /// Set by rewrites: its gradient is taken by the batch norm that makes its input.
  bool joined = false;
};
/// Means over a grid of windows that share the image out (PoolDesc::grid_h). With `keeps_ratio` it
/// has as many columns, at least one, as keep the ratio of the image's sides: of any image.
struct GridAveragePoolLayer {
  int rows = 1, columns = 1;
  bool keeps_ratio = false;
};
/// The first input times the second, {N, 1, 1, C}, broadcast over the pixels.
struct ScaleLayer {};
/// The first input times the second, which may have one channel for all of the first's.
struct MultiplyLayer {};
/// The sum over the channels of the product of two inputs: one channel.
struct DotLayer {};
/// gate(W2 activation(W1 x + b1) + b2) of means {N, 1, 1, C}. Only rewrites make it.
struct SqueezeExciteLayer {
  int hidden = 0;
  Activation activation = Activation::silu;
  Activation gate = Activation::sigmoid;  // or hardsigmoid
};
struct UpsampleLayer {
  int height = 0, width = 0;
  bool bilinear = false;
  bool corners = false;  // the first and the last pixel stay in place (UpsampleOps::bilinear)
  Value like;            // the value whose size this is, if any: an export of any size needs it
};
struct ConcatLayer {};
/// The first input plus `factor` times the second.
struct AddLayer {
  float factor = 1;
  bool relu = false;  // set by rewrites
};

using LayerSpec =
    std::variant<ConvLayer, ConvTransposeLayer, BatchNormLayer, ActivationLayer, DropoutLayer,
                 DropPathLayer, MaxPoolLayer, AveragePoolLayer, GlobalAveragePoolLayer,
                 GridAveragePoolLayer, ScaleLayer, MultiplyLayer, DotLayer, SqueezeExciteLayer,
                 UpsampleLayer, ConcatLayer, AddLayer>;

struct Node {
  std::string name;  // of the layer, for people and parameter names; may be empty
  LayerSpec layer;
  std::vector<Value> inputs;
  Value output;
  std::vector<int> parameters;  // indices into Graph::parameters()
};

/// Whether the gradient of a pooling is taken by the node that makes its input.
bool is_joined(const LayerSpec& layer);

/// "conv", "batch_norm", … of a node's layer.
std::string_view kind_of(const LayerSpec& layer);

/// Class scores besides the output, which training alone has a loss on (Zhao et al., "Pyramid Scene
/// Parsing Network", CVPR 2017, section 3.3).
struct AuxiliaryOutput {
  Value value;
  float weight = 0;  // of its loss
};

/// Values are numbered in topological order; value 0 is the input.
class Graph {
 public:
  explicit Graph(Shape input);

  Value input() const { return Value{0}; }
  /// The shape of a value. Requires a value of this graph.
  Shape shape(Value v) const;
  /// Channels of the tensor that holds the value in memory: shape(v).c, and more where
  /// pad_channels() (rewrite.h) has widened it. Only the first shape(v).c mean anything.
  int stored_channels(Value v) const;

  // Builders: each appends one node and returns its output. They throw InputError naming the layer
  // when the input does not fit (a kernel larger than the padded image, a concat of two sizes, …).
  // Parameters: NAME.weight, NAME.bias, and for batch norm .running_mean, .running_var.
  Value conv(Value x, std::string_view name, const ConvLayer& layer);
  Value conv_transpose(Value x, std::string_view name, const ConvTransposeLayer& layer);
  /// Without `scale` gamma is kept at 1.
  Value batch_norm(Value x, std::string_view name, const BatchNormDesc& desc = {},
                   bool scale = true);
  Value activation(Value x, Activation kind);
  Value relu(Value x) { return activation(x, Activation::relu); }
  Value dropout(Value x, float p);
  Value drop_path(Value x, float p);
  Value max_pool(Value x, const PoolDesc& desc = {});  // at most 255 pixels a window
  Value average_pool(Value x, const PoolDesc& desc);
  Value global_average_pool(Value x);
  Value grid_average_pool(Value x, int rows, int columns);
  /// With columns that keep the ratio of the sides: round(width / height * rows), halves to even.
  Value grid_average_pool(Value x, int rows);
  /// x * factors, where factors is {N, 1, 1, C}.
  Value scale(Value x, Value factors);
  /// a * b, where b is of a's shape or has one channel.
  Value multiply(Value a, Value b);
  /// The sum over the channels of a * b.
  Value dot(Value a, Value b);
  /// To a size, by nearest neighbour or bilinearly.
  Value upsample(Value x, int height, int width, bool bilinear = false);
  /// To the height and width of `like`.
  Value upsample(Value x, Value like, bool bilinear = false);
  /// Bilinearly, with the first and the last pixel where they are (PyTorch's align_corners).
  Value upsample_corners(Value x, Value like);
  Value concat(std::vector<Value> values);
  /// a + factor * b: a residual branch b may be scaled down (Szegedy et al., 2017, section 3.3).
  Value add(Value a, Value b, float factor = 1);
  /// Adds a parameter that no layer reads (ParameterSpec::unused).
  void carry_parameter(std::string name, Shape shape, ParameterRole role);
  /// Says which parameters are of the encoder, the part that is pretrained on other images and
  /// fine-tuned apart: those whose names begin with one of `prefixes`.
  void mark_encoder(std::span<const std::string_view> prefixes);
  /// Declares the class scores.
  void set_output(Value v) { output_ = v; }
  /// Declares more of them. Requires that the output is declared, another value of its shape, and a
  /// positive weight.
  void add_auxiliary_output(Value v, float weight);

  Value output() const { return output_; }
  const std::vector<AuxiliaryOutput>& auxiliary_outputs() const { return auxiliary_; }
  /// Whether a value is the output or an auxiliary one.
  bool is_output(Value v) const;
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<ParameterSpec>& parameters() const { return parameters_; }
  int values() const { return static_cast<int>(shapes_.size()); }
  /// Number of trained scalars, those of unused parameters among them (as PyTorch counts).
  int64_t parameter_count() const;
  /// Multiply-adds of all convolutions, transposed ones among them, for the whole batch.
  int64_t macs() const;
  /// Those of one node.
  int64_t macs(const Node& node) const;

  /// The convolution that a node performs; requires a ConvLayer node.
  ConvDesc conv_desc(const Node& node) const;
  /// The convolution whose data gradient a node is; requires a ConvTransposeLayer node.
  ConvDesc mirrored_desc(const Node& node) const;

  /// A graph with the same values, parameters and auxiliary outputs, and other nodes (for
  /// rewrites).
  Graph with_nodes(std::vector<Node> nodes, Value output) const;
  Graph without_auxiliary_outputs() const;
  /// Sets stored_channels (for rewrites). Requires at least shape(v).c.
  void store_in(Value v, int channels);

 private:
  /// The shape of a pooling's output.
  Shape pooled(std::string_view layer, Value x, const PoolDesc& desc) const;
  Value upsample_like(Value x, Value like, UpsampleLayer layer);
  Value append(std::string_view name, LayerSpec layer, std::vector<Value> inputs, Shape shape,
               std::vector<int> parameters = {});
  int add_parameter(std::string name, Shape shape, ParameterRole role, Init init = Init::he_normal);

  std::vector<Shape> shapes_;  // by value
  std::vector<int> stored_;    // by value
  std::vector<Node> nodes_;
  std::vector<ParameterSpec> parameters_;
  Value output_;
  std::vector<AuxiliaryOutput> auxiliary_;
  uint32_t dropouts_ = 0;
};

}  // namespace macadam
