#pragma once
// The one table of cases. Correctness on every backend, gradients and timings read it; the
// builders below it make the same cases at any size, for benchmarks at those of real networks.

#include <optional>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "tests/kernels/op_case.h"

namespace macadam::testing {

/// Every case of every op.
std::vector<OpCase> all_op_cases();

// Those of one family, each in cases_NAME.cpp.
#define MACADAM_CASES(Family, name) std::vector<OpCase> name##_cases();
MACADAM_OP_FAMILIES(MACADAM_CASES)
#undef MACADAM_CASES
std::vector<OpCase> depthwise_cases();  // convolutions too, of handwritten kernels

/// The floating-point dtypes that tensors are stored in.
inline constexpr DType kFloatTypes[] = {DType::f32, DType::bf16, DType::f16};

/// How a call is varied beyond shape and dtype.
struct Variant {
  Layout layout = Layout::dense;
  bool in_place = false;    // the output is the same view as an input
  bool accumulate = false;  // the output is added to

  std::string suffix() const;
};

/// What all element-wise ops are tried on: vector-sized and odd channel counts, sizes from one
/// element up, slices. In-place and accumulating variants are the caller's to add.
struct ShapeVariant {
  Shape shape;
  Layout layout = Layout::dense;
};
std::vector<ShapeVariant> element_shapes();

OpCase conv_forward(const ConvDesc& desc);
OpCase conv_backward_data(const ConvDesc& desc);
OpCase conv_backward_weights(const ConvDesc& desc);

OpCase batch_norm_train(Shape shape, DType dtype, const BatchNormDesc& desc, Variant variant = {});
OpCase batch_norm_infer(Shape shape, DType dtype, const BatchNormDesc& desc, Variant variant = {});
OpCase batch_norm_backward(Shape shape, DType dtype, const BatchNormDesc& desc,
                           Variant variant = {});

OpCase activate(Activation kind, Shape shape, DType dtype, Variant variant = {});
OpCase activate_backward(Activation kind, Shape shape, DType dtype, Variant variant = {});
OpCase dropout(Shape shape, DType dtype, float p, Variant variant = {});
OpCase dropout_backward(Shape shape, DType dtype, float p, Variant variant = {});
OpCase drop_path(Shape shape, DType dtype, float p, Variant variant = {});
OpCase drop_path_backward(Shape shape, DType dtype, float p, Variant variant = {});

/// The gradients that a backward pass is asked for.
enum class Wanted : uint8_t { all, input, parameters };
OpCase channel_mean(Shape shape, DType dtype, Variant variant = {});
OpCase channel_mean_backward(Shape shape, DType dtype, Variant variant = {});
OpCase channel_scale(Shape shape, DType dtype, Variant variant = {});
OpCase channel_scale_backward(Shape shape, DType dtype, Wanted wanted, Variant variant = {});
OpCase channel_add_bias(Shape shape, DType dtype, Variant variant = {});

/// What stands around a call of EpilogueOps::backward.
struct EpilogueCase {
  Activation activation = Activation::identity;
  Shape shape{};
  float scale = 1;
  std::optional<PoolDesc> pool{};
  bool direct = true;  // dy is given
  bool wants_dz = true, wants_dbias = true;
};
OpCase epilogue_backward(const EpilogueCase& epilogue, DType dtype, Variant variant = {});

OpCase squeeze_excite_gates(const SqueezeExciteDesc& desc, bool training);
OpCase squeeze_excite_backward(const SqueezeExciteDesc& desc);

OpCase max_pool(Shape input, DType dtype, const PoolDesc& desc, Variant variant = {});
OpCase max_pool_backward(Shape input, DType dtype, const PoolDesc& desc, Variant variant = {});
OpCase average_pool(Shape input, DType dtype, const PoolDesc& desc, Variant variant = {});
OpCase average_pool_backward(Shape input, DType dtype, const PoolDesc& desc, Variant variant = {});

/// `input` is the small side, `output_h` x `output_w` the other.
struct ResizeCase {
  Shape input;
  int output_h = 1, output_w = 1;
  bool corners = false;  // of a bilinear one
};
OpCase nearest(const ResizeCase& resize, DType dtype, Variant variant = {});
OpCase nearest_backward(const ResizeCase& resize, DType dtype, Variant variant = {});
OpCase bilinear(const ResizeCase& resize, DType from, DType to, Variant variant = {});
OpCase bilinear_backward(const ResizeCase& resize, DType from, DType to, Variant variant = {});

OpCase copy(Shape shape, DType from, DType to, Variant variant = {});
/// y = a + factor * b.
OpCase add(Shape shape, DType dtype, float factor, bool relu, Variant variant = {});
OpCase scale(Shape shape, DType from, DType to, Variant variant = {});
OpCase fill(Shape shape, DType dtype, Variant variant = {});
/// With `factors`, b has one channel.
OpCase multiply(Shape shape, DType dtype, bool factors, Variant variant = {});
OpCase multiply_backward(Shape shape, DType dtype, bool factors, Variant variant = {});
OpCase dot(Shape shape, DType dtype, Variant variant = {});
OpCase dot_backward(Shape shape, DType dtype, Variant variant = {});

/// The error of a pixel in a class, and whether the class is its label.
struct RankedError {
  double error = 0;
  bool is_label = false;
};

/// A term with these parameters, and what its formula is in other words: a pixel term's from
/// the probabilities and the label, a region term's from the sums I, P and G, a rank term's from
/// the /// errors of a class. A pixel term may be of the scores, and count in some pixels alone:
/// those whose label has at most a probability, which is found in those of all pixels, ascending.
struct LossTermCase {
  const char* term;
  std::vector<float> parameters = {};
  std::function<double(std::span<const double> p, size_t label)> pixel = {};
  std::function<double(std::span<const double> sorted)> most = {};
  std::function<double(std::span<const double> scores, size_t label)> scores = {};
  int near = 0;  // a pixel term's weight is of the pixels so far from another label, and elsewhere
  double near_weight = 1, other_weight = 1;
  std::function<double(double intersection, double predicted, double labeled)> region = {};
  std::function<double(std::span<const RankedError> errors)> rank = {};  // from the largest on

  LossTerm with_weight(float weight) const { return loss_term(term, weight, parameters); }
};
/// At least one of every term.
std::vector<LossTermCase> loss_term_cases();

/// Floats of LossValues.
constexpr int kLossValues = sizeof(LossValues) / sizeof(float);

/// `labelled`: labels are drawn from the classes below it. `other`: the value of a fifth of the
/// labels, in place of a class.
struct LossCase {
  std::string name;
  Shape logits;
  LossDesc desc;
  bool class_weights = false;
  int labeled = 1;
  int other = 255;
  double scale = 2;  // standard deviation of the logits
  float gradient_scale = 1;
  double slack = 8;                 // exponentials and sums over all pixels in fp32
  std::vector<double> scores = {};  // the logits, where they are not drawn
  int patch = 1;                    // squares of so many pixels mostly have one label
};
OpCase segmentation_loss(const LossCase& loss, DType dtype, bool gradient, Variant variant = {});

/// Of DistillOps.
struct DistillCase {
  std::string name;
  Shape scores;
  float weight = 3, temperature = 4;
  double deviation = 2;  // of the scores
  float gradient_scale = 1;
  int images = -1;  // that count; -1: all
  bool student_nan = false, teacher_nan = false;
};
/// The value alone, the gradient alone, or added to what is there.
enum class Direction : uint8_t { value, gradient, added };
OpCase distill(const DistillCase& distill, DType dtype, Direction direction, Variant variant = {});

OpCase argmax(Shape scores, DType dtype, Variant variant = {}, bool confident = false);
OpCase confusion_count(Shape labels, int classes);

/// What an update is made of besides the rule.
struct OptimCase {
  std::string name;
  std::vector<ParameterSegment> segments;
  StepState state;
  std::optional<GradientState> gradient;  // none: the gradients were not examined
  float average_decay = 0;                // 0: no moving averages
  Layout layout = Layout::dense;
};
OpCase sgd(const OptimCase& optim, const SgdDesc& desc);
OpCase adamw(const OptimCase& optim, const AdamWDesc& desc);
/// Gradients are whole numbers, so that every order of summation gives the same norm.
OpCase examine(const OptimCase& optim, const ExamineDesc& desc, const Fill& gradients);

OpCase prepare_images(Shape images, DType dtype, bool mirrored, const Normalization& normalization,
                      const std::string& name, Variant variant = {});

}  // namespace macadam::testing
