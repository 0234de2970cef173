// The harness itself: each way in which an op can misbehave must be seen.

#include "tests/kernels/op_runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "base/to_size.h"
#include "kernels/reference/reference_ops.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

constexpr size_t kScratch = 64;  // bytes of workspace, and of packed weights

/// What the checks say of y = x on a slice of channels, followed by `misdeed`.
std::string findings(const std::function<void(const Arguments&)>& misdeed) {
  OpCase op = copy({1, 1, 7, 3}, DType::f32, DType::f32, {.layout = Layout::ragged_slices});
  const Values inputs = make_inputs(op);
  const Values expected = reference_results(op, inputs);
  op.prepare = [&](Ops& ops) {
    PreparedOp prepared;
    prepared.workspace_bytes = prepared.packed_bytes = kScratch;
    prepared.call = [&](const Arguments& a) {
      ops.elementwise->copy(a("x"), a("y"), false);
      misdeed(a);
    };
    return prepared;
  };
  Stream stream;
  Ops ops = make_reference_ops();
  BoundOp bound(op, ops, stream, inputs);
  bound.run();
  std::string text = differences(op, bound.results(), expected);
  for (const std::string& stray : bound.stray_writes()) text += "stray " + stray;
  return text;
}

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::identity: return x;
    case Activation::relu: return std::max(x, 0.0);
    case Activation::relu6: return std::clamp(x, 0.0, 6.0);
    case Activation::sigmoid: return 1 / (1 + std::exp(-x));
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::hardswish: return x * std::clamp(x + 3, 0.0, 6.0) / 6;
    case Activation::hardsigmoid: return std::clamp(x + 3, 0.0, 6.0) / 6;
  }
  throw std::logic_error("an activation");
}

/// A convolution as cuDNN's path runs it by design: weights, here already of few bits, and bias in
/// 16 bits, and, where nothing fuses, the sums rounded before bias and activation.
Values as_cudnn_rounds(const ConvDesc& desc, const OpCase& op, bool fused) {
  Values inputs = make_inputs(op);
  if (desc.bias) round_to(desc.dtype, inputs.at("b"));
  if (fused) return reference_results(op, inputs);
  ConvDesc bare = desc;
  bare.bias = false;
  bare.activation = Activation::identity;
  Values results = reference_results(conv_forward(bare), inputs);
  std::vector<double>& y = results.at("y");
  for (size_t i = 0; i < y.size(); ++i) {
    const double sum = y[i] + inputs.at("b")[i % to_size(desc.out_channels)];
    y[i] = activated(desc.activation, sum);
  }
  round_to(desc.dtype, y);
  return results;
}

TEST(OpRunner, AllowsCudnnItsRoundingsAndNothingElse) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const Activation activation :
         {Activation::identity, Activation::relu, Activation::relu6, Activation::silu}) {
      const ConvDesc desc{.input = {2, 5, 9, 24},
                          .out_channels = 40,
                          .padding = Padding::all(1),
                          .bias = true,
                          .activation = activation,
                          .dtype = dtype};
      const OpCase op = conv_forward(desc);
      SCOPED_TRACE(op.full_name());
      const bool fused = activation == Activation::identity || activation == Activation::relu;
      Values got = as_cudnn_rounds(desc, op, fused);
      const Values want = reference_results(op, make_inputs(op));
      EXPECT_EQ(differences(op, got, want, true), "");
      for (double& v : got.at("y")) v *= 1 + 6 * tolerance_of(dtype);
      EXPECT_NE(differences(op, got, want, true), "");
    }
    const OpCase op = conv_backward_weights(
        {.input = {2, 5, 9, 11}, .out_channels = 5, .dtype = dtype, .backward = true});
    const Values want = reference_results(op, make_inputs(op));
    Values got = want;
    round_to(dtype, got.at("dw"));
    EXPECT_EQ(differences(op, got, want, true), "");
    EXPECT_NE(differences(op, got, want), "") << "the CPU is as strict as before";
  }
}

std::string findings(const std::function<void(float* x, float* y)>& misdeed) {
  return findings([&](const Arguments& a) { misdeed(a("x").as<float>(), a("y").as<float>()); });
}

constexpr int kStride = 3 + 3 + 1;  // of y: three channels before the slice, one after

TEST(OpRunner, AcceptsACorrectOp) {
  EXPECT_EQ(findings([](float*, float*) {}), "");
}

TEST(OpRunner, SeesAWrongElement) {
  EXPECT_NE(findings([](float*, float* y) { y[2 * kStride + 1] += 1e-6f; }), "");
}

TEST(OpRunner, SeesAnUnwrittenElement) {
  // The poison that outputs hold before the call.
  EXPECT_NE(findings([](float*, float* y) { y[6 * kStride + 2] = std::nanf(""); }), "");
}

TEST(OpRunner, SeesAChangedInput) {
  EXPECT_NE(findings([](float* x, float*) { x[0] += 1; }).find("stray byte"), std::string::npos);
}

TEST(OpRunner, SeesAWriteToANeighboringChannel) {
  EXPECT_NE(findings([](float*, float* y) { y[3] = 0; }).find("stray byte"), std::string::npos);
}

TEST(OpRunner, SeesAWritePastTheEnd) {
  const auto found = findings([](float*, float* y) { y[7 * kStride - 3] = 0; });
  EXPECT_NE(found.find("stray byte"), std::string::npos);
}

TEST(OpRunner, SeesAWriteBeforeTheBeginning) {
  EXPECT_NE(findings([](float*, float* y) { y[-4] = 0; }).find("stray byte"), std::string::npos);
}

TEST(OpRunner, SeesSumsPastTheEndAndIntoNeighbors) {
  for (const int element : {7 * kStride - 3, 7 * kStride, 3, -4})
    EXPECT_NE(findings([=](float*, float* y) { y[element] += 1; }).find("stray byte"),
              std::string::npos)
        << element;
}

/// As far as a row of a wide image goes wrong, before and behind, in scratch memory too.
TEST(OpRunner, SeesWritesFarFromEveryBuffer) {
  constexpr auto far = static_cast<int64_t>(BoundOp::kGuard) - 4;
  for (const int64_t offset : {-far, -int64_t{3072}, -int64_t{4}, int64_t{kScratch}, far}) {
    const auto strikes = [&](const std::function<void*(const Arguments&)>& base) {
      return findings([&](const Arguments& a) {
               float value = 0;
               std::byte* const at = static_cast<std::byte*>(base(a)) + offset;
               std::memcpy(&value, at, sizeof value);
               value += 1;
               std::memcpy(at, &value, sizeof value);
             }).find("stray byte") != std::string::npos;
    };
    EXPECT_TRUE(strikes([](const Arguments& a) { return a.workspace(); })) << offset;
    EXPECT_TRUE(strikes([](const Arguments& a) { return a.packed(); })) << offset;
    EXPECT_TRUE(strikes([](const Arguments& a) { return a("x").data; })) << offset;
  }
}

TEST(Difference, OneElementOfMany) {
  std::vector<double> want(100000, 1.0);
  std::vector<double> got = want;
  EXPECT_EQ(difference(got, want, DType::bf16, 1), "");
  got[77] = 1.0 + 0x1p-7;  // one rounding
  EXPECT_EQ(difference(got, want, DType::bf16, 1), "");
  got[77] = 1.1;
  EXPECT_NE(difference(got, want, DType::bf16, 1), "");
}

TEST(Difference, ManySmallErrors) {
  const std::vector<double> want(1000, 1.0), got(1000, 1.0 + 0x1p-8);  // half a rounding each
  EXPECT_NE(difference(got, want, DType::bf16, 1), "");
}

TEST(Difference, NanAndInfinityMustMatch) {
  const double nan = std::nan(""), infinity = INFINITY;
  const std::vector<double> want{1, nan, infinity};
  EXPECT_EQ(difference(want, want, DType::f32, 1), "");
  EXPECT_NE(difference(std::vector<double>{1, nan, -infinity}, want, DType::f32, 1), "");
  EXPECT_NE(difference(std::vector<double>{1, 2, infinity}, want, DType::f32, 1), "");
  EXPECT_NE(difference(std::vector<double>{nan, nan, infinity}, want, DType::f32, 1), "");
}

}  // namespace
}  // namespace macadam::testing
