// The reference against what PyTorch computed (tests/golden/make_op_goldens.py).

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <initializer_list>

#include "kernels/reference/reference_ops.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/npy.h"
#include "tests/kernels/op_cases.h"
#include "tests/paths.h"

namespace macadam::testing {
namespace {

/// One of tests/golden/ops.
class Golden : public NpyFile {
 public:
  explicit Golden(const std::string& name)
      : NpyFile(source_path("tests/golden/ops/" + name + ".npy")) {}

  std::vector<int> integers() {
    const std::vector<double> values = next().values;
    return {values.begin(), values.end()};
  }
  /// The next arrays, named.
  Values read(std::initializer_list<const char*> names) {
    Values values;
    for (const char* name : names) values[name] = next().values;
    return values;
  }
};

Values merged(Values a, const Values& b) {
  for (const auto& [name, values] : b) a[name] = values;
  return a;
}

/// Runs the case on the reference with `given` operands, checks those outputs that are `expected`,
/// and returns all.
Values check(OpCase op, const Values& given, const Values& expected) {
  op.forward = nullptr;
  const Values results = reference_results(op, merged(make_inputs(op), given));
  for (const auto& [name, values] : expected)
    EXPECT_EQ(difference(results.at(name), values, op.find(name)->dtype, 1), "")
        << name << " of " << op.full_name();
  return results;
}

class GoldenTest : public ::testing::TestWithParam<const char*> {};

std::string name_of_file(const ::testing::TestParamInfo<const char*>& info) { return info.param; }

class GoldenConv : public GoldenTest {};

TEST_P(GoldenConv, ReferenceAgreesWithPyTorch) {
  Golden golden(std::string("conv_") + GetParam());
  const std::vector<int> a = golden.integers();
  const ConvDesc desc{.input = {a[0], a[1], a[2], a[3]},
                      .out_channels = a[4],
                      .kernel_h = a[5],
                      .kernel_w = a[6],
                      .stride = a[7],
                      .dilation = a[8],
                      .padding = {a[9], a[10], a[11], a[12]},
                      .groups = a[13],
                      .bias = true};
  const Values given = golden.read({"x", "w", "b"});
  check(conv_forward(desc), given, golden.read({"y"}));
  const Values with_dy = merged(given, golden.read({"dy"}));
  check(conv_backward_data(desc), with_dy, golden.read({"dx"}));
  const Values gradients = golden.read({"dw", "db"});
  check(conv_backward_weights(desc), with_dy, {{"dw", gradients.at("dw")}});
  check(epilogue_backward({.shape = desc.output()}, DType::f32), {{"dy", with_dy.at("dy")}},
        {{"dbias", gradients.at("db")}});
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenConv,
                         ::testing::Values("plain", "pointwise", "dilated", "grouped", "depthwise",
                                           "asymmetric", "dilated_groups_stride"),
                         name_of_file);

class GoldenBatchNorm : public GoldenTest {};

TEST_P(GoldenBatchNorm, ReferenceAgreesWithPyTorch) {
  Golden golden(std::string("batch_norm_") + GetParam());
  const std::vector<int> a = golden.integers();
  const std::vector<double> settings = golden.next().values;
  const Shape shape{a[0], a[1], a[2], a[3]};
  const BatchNormDesc desc{.eps = static_cast<float>(settings[0]),
                           .momentum = static_cast<float>(settings[1]),
                           .activation = a[4] != 0 ? Activation::relu : Activation::identity};
  const Values given = golden.read({"x", "gamma", "beta", "running_mean", "running_var"});
  const Values trained = check(batch_norm_train(shape, DType::f32, desc), given,
                               golden.read({"y", "running_mean", "running_var"}));
  check(batch_norm_infer(shape, DType::f32, desc), given, golden.read({"y"}));
  const Values with_dy = merged(merged(given, trained), golden.read({"dy"}));
  check(batch_norm_backward(shape, DType::f32, desc), with_dy,
        golden.read({"dx", "dgamma", "dbeta"}));
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenBatchNorm, ::testing::Values("plain", "relu"),
                         name_of_file);

class GoldenPool : public GoldenTest {};

TEST_P(GoldenPool, ReferenceAgreesWithPyTorch) {
  Golden golden(std::string("pool_") + GetParam());
  const std::vector<int> a = golden.integers();
  const Shape shape{a[0], a[1], a[2], a[3]};
  const PoolDesc desc{.kernel_h = a[4],
                      .kernel_w = a[5],
                      .stride_h = a[6],
                      .stride_w = a[7],
                      .padding = {a[9], a[9], a[8], a[8]}};
  const Values x = golden.read({"x"});
  const Values pooled = golden.read({"y", "index"});
  check(max_pool(shape, DType::f32, desc), x, pooled);
  const Values dy = golden.read({"dy"});
  check(max_pool_backward(shape, DType::f32, desc), merged(pooled, dy), golden.read({"dx"}));
  check(average_pool(shape, DType::f32, desc), x, golden.read({"y"}));
  check(average_pool_backward(shape, DType::f32, desc), dy, golden.read({"dx"}));
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenPool,
                         ::testing::Values("halve", "resnet", "ties", "uneven"), name_of_file);

class GoldenWindow : public GoldenTest {};

TEST_P(GoldenWindow, ReferenceAgreesWithPyTorch) {
  Golden golden(std::string("window_") + GetParam());
  const std::vector<int> a = golden.integers();
  const Shape shape{a[0], a[1], a[2], a[3]};
  PoolDesc desc{.kernel_h = a[4],
                .kernel_w = a[5],
                .stride_h = a[6],
                .stride_w = a[7],
                .padding = {a[9], a[9], a[8], a[8]},
                .ceil_mode = true};
  const Values x = golden.read({"x"}), dy = golden.read({"dy"});
  const Values pooled = check(max_pool(shape, DType::f32, desc), x, golden.read({"y"}));
  check(max_pool_backward(shape, DType::f32, desc), merged(pooled, dy), golden.read({"dx"}));
  for (const bool counted : {false, true}) {
    desc.count_padding = counted;
    check(average_pool(shape, DType::f32, desc), x, golden.read({"y"}));
    check(average_pool_backward(shape, DType::f32, desc), dy, golden.read({"dx"}));
  }
  desc.ceil_mode = false;
  check(average_pool(shape, DType::f32, desc), x, golden.read({"y"}));
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenWindow,
                         ::testing::Values("halve", "even", "resnet", "dropped", "uneven"),
                         name_of_file);

TEST(GoldenActivations, HardOnesAgreeWithPyTorch) {
  Golden golden("hard_activations");
  const Values x = golden.read({"x"}), dy = golden.read({"dy"});
  const Shape shape{1, 1, 1, static_cast<int>(x.at("x").size())};
  for (const Activation kind : {Activation::hardswish, Activation::hardsigmoid}) {
    const Values y = golden.read({"y"});
    check(activate(kind, shape, DType::f32), x, y);
    const Values saved = gradient_reads_input(kind) ? x : y;
    check(activate_backward(kind, shape, DType::f32), merged(saved, dy), golden.read({"dx"}));
  }
}

class GoldenResize : public GoldenTest {};

TEST_P(GoldenResize, ReferenceAgreesWithPyTorch) {
  Golden golden(std::string("resize_") + GetParam());
  const std::vector<int> a = golden.integers();
  const ResizeCase resize{{a[0], a[1], a[2], a[3]}, a[4], a[5]};
  const Values given = golden.read({"x", "dy"});
  check(nearest(resize, DType::f32), given, golden.read({"y"}));
  check(nearest_backward(resize, DType::f32), given, golden.read({"dx"}));
  check(bilinear(resize, DType::f32, DType::f32), given, golden.read({"y"}));
  check(bilinear_backward(resize, DType::f32, DType::f32), given, golden.read({"dx"}));
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenResize,
                         ::testing::Values("double", "up", "down", "from_one", "eightfold"),
                         name_of_file);

void expect_loss(const LossCase& loss, const Values& given, double total, const Values& gradient) {
  const Values results = check(segmentation_loss(loss, DType::f32, true), given, gradient);
  EXPECT_NEAR(results.at("values")[0], total, 1e-6 * std::abs(total));
}

class GoldenCrossEntropy : public GoldenTest {};

TEST_P(GoldenCrossEntropy, ReferenceAgreesWithPyTorch) {
  Golden golden(std::string("cross_entropy_") + GetParam());
  const std::vector<int> a = golden.integers();
  LossCase loss{.name = GetParam(), .logits = {a[0], a[1], a[2], a[3]}, .desc = {}};
  loss.desc.ignore = a[4];
  loss.desc.terms[0].parameters[0] = static_cast<float>(golden.next().values[0]);
  loss.class_weights = true;
  const Values given = golden.read({"logits", "labels", "weights"});
  const double total = golden.next().values[0];
  expect_loss(loss, given, total, golden.read({"dlogits"}));
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenCrossEntropy,
                         ::testing::Values("plain", "weighted", "smoothed", "ignored_class"),
                         name_of_file);

class GoldenDice : public GoldenTest {};

TEST_P(GoldenDice, ReferenceAgreesWithPyTorch) {
  Golden golden(std::string("dice_") + GetParam());
  const std::vector<int> a = golden.integers();
  LossCase loss{.name = GetParam(), .logits = {a[0], a[1], a[2], a[3]}, .desc = {}};
  const auto smooth = static_cast<float>(golden.next().values[0]);
  loss.desc = make_loss({loss_term("dice", 1, std::array{smooth})});
  loss.desc.absent = static_cast<AbsentClass>(a[4]);
  const Values given = golden.read({"logits", "labels"});
  const double total = golden.next().values[0];
  expect_loss(loss, given, total, golden.read({"dlogits"}));
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenDice, ::testing::Values("skip", "zero", "suppress"),
                         name_of_file);

class GoldenLossTerm : public GoldenTest {};

TEST_P(GoldenLossTerm, ReferenceAgreesWithPyTorch) {
  Golden golden(std::string("loss_") + GetParam());
  const std::vector<int> a = golden.integers();
  LossCase loss{.name = GetParam(), .logits = {a[0], a[1], a[2], a[3]}, .desc = {}};
  const std::vector<double> parameters = golden.next().values;
  const std::vector<float> given_parameters(parameters.begin(), parameters.end());
  loss.desc = make_loss({loss_term(GetParam(), 1, given_parameters)});
  loss.desc.absent = AbsentClass::zero;
  const Values given = golden.read({"logits", "labels"});
  const double total = golden.next().values[0];
  expect_loss(loss, given, total, golden.read({"dlogits"}));
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenLossTerm,
                         ::testing::Values("focal", "jaccard", "tversky", "focal_ovr", "lovasz"),
                         name_of_file);

class GoldenDistill : public GoldenTest {};

TEST_P(GoldenDistill, ReferenceAgreesWithPyTorch) {
  Golden golden(std::string("distill_") + GetParam());
  const std::vector<int> a = golden.integers();
  const std::vector<double> parameters = golden.next().values;
  const DistillCase of{.name = GetParam(),
                       .scores = {a[0], a[1], a[2], a[3]},
                       .weight = static_cast<float>(parameters[0]),
                       .temperature = static_cast<float>(parameters[1])};
  const Values given = golden.read({"student", "teacher"});
  const Values value = golden.read({"value"});
  check(distill(of, DType::f32, Direction::gradient), given,
        merged(value, golden.read({"dstudent"})));
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenDistill, ::testing::Values("soft", "hard"), name_of_file);

/// The two parameters of the optimiser's goldens, in one buffer with a gap.
constexpr int kFirst = 70, kSecond = 5, kSecondOffset = 128;
const std::vector<ParameterSegment> kSegments{
    {.offset = 0, .count = kFirst, .weight_decay = 0.1f},
    {.offset = kSecondOffset, .count = kSecond, .weight_decay = 0}};

std::vector<float> with_gap(const double* packed) {
  std::vector<float> flat(kSecondOffset + kSecond);
  std::copy_n(packed, kFirst, flat.begin());
  std::copy_n(packed + kFirst, kSecond, flat.begin() + kSecondOffset);
  return flat;
}

/// Runs the golden's three steps; `step(buffers, state)` is the optimiser.
template <typename Step>
void expect_three_steps(Golden& golden, float lr, Step&& step) {
  std::vector<float> parameters = with_gap(golden.next().values.data());
  const std::vector<double> gradients = golden.next().values;
  const std::vector<double> after = golden.next().values;
  std::vector<float> moment1(parameters.size()), moment2(parameters.size());
  constexpr size_t size = kFirst + kSecond;
  for (size_t t = 0; t < 3; ++t) {
    const std::vector<float> gradient = with_gap(&gradients[t * size]);
    const StepState state{.step = t, .update = t, .lr = lr};
    step(OptimBuffers{.parameters = parameters.data(),
                      .gradients = gradient.data(),
                      .moment1 = moment1.data(),
                      .moment2 = moment2.data()},
         state);
    const std::vector<float> expected = with_gap(&after[t * size]);
    for (size_t i = 0; i < parameters.size(); ++i)
      ASSERT_NEAR(parameters[i], expected[i], 1e-6 * (1 + std::abs(expected[i])))
          << "element " << i << " after step " << t;
  }
}

class GoldenSgd : public GoldenTest {};

TEST_P(GoldenSgd, ReferenceAgreesWithPyTorch) {
  Golden golden(GetParam());
  const std::vector<double> settings = golden.next().values;
  const SgdDesc desc{.momentum = static_cast<float>(settings[1]), .nesterov = settings[2] != 0};
  const Ops ops = make_reference_ops();
  expect_three_steps(golden, static_cast<float>(settings[0]),
                     [&](const OptimBuffers& buffers, const StepState& state) {
                       ops.optim->sgd(desc, buffers, kSegments, &state, nullptr);
                     });
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenSgd, ::testing::Values("sgd", "sgd_nesterov"),
                         name_of_file);

TEST(GoldenAdamW, ReferenceAgreesWithPyTorch) {
  Golden golden("adamw");
  const std::vector<double> settings = golden.next().values;
  const AdamWDesc desc{.beta1 = static_cast<float>(settings[1]),
                       .beta2 = static_cast<float>(settings[2]),
                       .eps = static_cast<float>(settings[3])};
  const Ops ops = make_reference_ops();
  expect_three_steps(golden, static_cast<float>(settings[0]),
                     [&](const OptimBuffers& buffers, const StepState& state) {
                       ops.optim->adamw(desc, buffers, kSegments, &state, nullptr);
                     });
}

}  // namespace
}  // namespace macadam::testing
