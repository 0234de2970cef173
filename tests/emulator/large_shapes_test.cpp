// Shapes that the table of small cases does not reach: several chunks of a sum, several tiles of
// channels, several rounds of a map's blocks, more pixels than one round of blocks. Compared with
// the reference in double.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/to_size.h"
#include "emulated_ops.h"
#include "kernels/reference/reference_ops.h"

namespace macadam {
namespace {

/// A dense tensor that owns its memory.
class Array {
 public:
  Array(Shape shape, DType dtype)
      : bytes_(to_size(shape.elements()) * size_of(dtype)),
        memory_(bytes_ / sizeof(float) + 1),
        tensor_(memory_.data(), shape, dtype) {}

  static Array normal(Shape shape, DType dtype, unsigned seed) {
    Array array(shape, dtype);
    std::mt19937 random(seed);
    std::normal_distribution<float> distribution(0.3f, 1.0f);
    array.generate([&] { return distribution(random); });
    return array;
  }
  static Array bytes_below(Shape shape, int limit, unsigned seed) {
    Array array(shape, DType::u8);
    std::mt19937 random(seed);
    for (int64_t i = 0; i < shape.elements(); ++i) {
      array.tensor_.as<uint8_t>()[i] =
          static_cast<uint8_t>(random() % static_cast<unsigned>(limit));
    }
    return array;
  }

  const Tensor& operator()() const { return tensor_; }

  std::vector<float> values() const {
    std::vector<float> result(to_size(tensor_.shape.elements()));
    visit_float(tensor_.dtype, [&](auto type) {
      const auto* data = tensor_.as<decltype(type)>();
      for (size_t i = 0; i < result.size(); ++i) result[i] = scalar::to_float(data[i]);
    });
    return result;
  }

  bool same_bytes(const Array& other) const {
    return std::memcmp(memory_.data(), other.memory_.data(), bytes_) == 0;
  }

 private:
  template <typename Generate>
  void generate(Generate&& next) {
    visit_float(tensor_.dtype, [&](auto type) {
      using T = decltype(type);
      for (int64_t i = 0; i < tensor_.shape.elements(); ++i) {
        tensor_.as<T>()[i] = scalar::from_float<T>(next());
      }
    });
  }

  size_t bytes_;
  std::vector<float> memory_;
  Tensor tensor_;
};

void expect_near(const Array& actual, const Array& expected, float tolerance) {
  const std::vector<float> a = actual.values(), b = expected.values();
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_NEAR(a[i], b[i], tolerance * (1 + std::abs(b[i]))) << "element " << i;
  }
}

class LargeShapes : public ::testing::Test {
 protected:
  Ops emulated_ = emulated::make_ops();
  Ops reference_ = make_reference_ops();
};

struct NormResult {
  Array mean, inv_std, running_mean, running_var, y, dx, dgamma, dbeta;

  NormResult(Ops& ops, const Array& x, const Array& dy, const Array& gamma)
      : mean(vector(x)),
        inv_std(vector(x)),
        running_mean(vector(x)),
        running_var(vector(x)),
        y(x().shape, x().dtype),
        dx(x().shape, x().dtype),
        dgamma(vector(x)),
        dbeta(vector(x)) {
    const BatchNormDesc desc{.activation = Activation::relu};
    std::vector<std::byte> workspace(ops.norm->workspace_bytes(x().shape));
    ops.norm->train(desc, x(), gamma(), gamma(), running_mean(), running_var(), mean(), inv_std(),
                    {}, y(), workspace.data());
    ops.norm->backward(desc, x(), dy(), {}, gamma(), gamma(), mean(), inv_std(), {}, dx(), dgamma(),
                       dbeta(), workspace.data());
  }

 private:
  static Array vector(const Array& x) { return Array({1, 1, 1, x().shape.c}, DType::f32); }
};

TEST_F(LargeShapes, BatchNorm) {
  const Shape shapes[] = {
      {3, 67, 71, 24}, {1, 33, 35, 300}, {2, 61, 67, 11}, {1, 40, 50, 515}, {1, 41, 61, 516}};
  for (const Shape& shape : shapes) {
    SCOPED_TRACE(shape.text());
    const Array x = Array::normal(shape, DType::f32, 1), dy = Array::normal(shape, DType::f32, 2);
    const Array gamma = Array::normal({1, 1, 1, shape.c}, DType::f32, 3);
    const NormResult actual(emulated_, x, dy, gamma), expected(reference_, x, dy, gamma);
    expect_near(actual.mean, expected.mean, 1e-5f);
    expect_near(actual.inv_std, expected.inv_std, 1e-5f);
    expect_near(actual.running_var, expected.running_var, 1e-5f);
    expect_near(actual.y, expected.y, 1e-4f);
    expect_near(actual.dx, expected.dx, 1e-4f);
    expect_near(actual.dgamma, expected.dgamma, 1e-3f);
    expect_near(actual.dbeta, expected.dbeta, 1e-3f);
    const NormResult again(emulated_, x, dy, gamma);
    EXPECT_TRUE(actual.dx.same_bytes(again.dx)) << "two runs differ";
  }
}

TEST_F(LargeShapes, Loss) {
  for (const int classes : {3, 19, 64}) {
    SCOPED_TRACE(classes);
    const Shape shape{1, 277, 263, classes};  // more tiles than blocks
    const Array logits = Array::normal(shape, DType::f32, 1);
    const Array labels = Array::bytes_below({1, 277, 263, 1}, classes + 1, 2);
    const LossDesc desc = make_loss({loss_term("ce", 1, std::array{0.1f}), loss_term("focal"),
                                     loss_term("dice", 0.5f), loss_term("tversky")});
    const auto run = [&](Ops& ops, const Array& gradient) {
      std::vector<double> workspace(ops.loss->workspace_bytes(desc, shape) / sizeof(double) + 1);
      LossValues values;
      ops.loss->run(desc, logits(), labels(), Tensor(), gradient(), &values, workspace.data());
      return values;
    };
    const Array actual_gradient(shape, DType::f32), expected_gradient(shape, DType::f32);
    const LossValues actual = run(emulated_, actual_gradient);
    const LossValues expected = run(reference_, expected_gradient);
    for (int k = 0; k < kMaxLossTerms; ++k) {
      EXPECT_NEAR(actual.terms[k], expected.terms[k], 1e-5f) << name_of(desc.terms[k]);
    }
    EXPECT_NEAR(actual.total, expected.total, 1e-5f);
    EXPECT_EQ(actual.valid_pixels, expected.valid_pixels);
    expect_near(actual_gradient, expected_gradient, 1e-8f);
  }
}

TEST_F(LargeShapes, Counts) {
  const Shape shape{3, 521, 523, 1};
  for (const int classes : {19, 110, 111}) {  // the last two: in shared memory, and too large
    const Array predictions = Array::bytes_below(shape, classes, 1);
    const Array labels = Array::bytes_below(shape, classes + 2, 2);
    std::vector<uint64_t> actual(to_size(classes) * to_size(classes), 5);
    std::vector<uint64_t> expected = actual;
    emulated_.confusion->count(predictions(), labels(), classes, actual.data());
    reference_.confusion->count(predictions(), labels(), classes, expected.data());
    EXPECT_EQ(actual, expected);
  }
}

TEST_F(LargeShapes, Argmax) {
  for (const int classes : {1, 19, 254, 255}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Array scores = Array::normal({1, 37, 41, classes}, dtype, 3);
      const Array actual({1, 37, 41, 1}, DType::u8), expected({1, 37, 41, 1}, DType::u8);
      emulated_.confusion->argmax(scores(), actual(), {});
      reference_.confusion->argmax(scores(), expected(), {});
      EXPECT_TRUE(actual.same_bytes(expected)) << classes;
    }
  }
}

TEST_F(LargeShapes, OptimizerStepsOverManySegments) {
  // Segments of all lengths, gaps between them, more elements than one round of blocks.
  std::vector<ParameterSegment> segments;
  int64_t offset = 64;
  for (int i = 0; i < 300; ++i) {
    const int64_t count = i == 150 ? 1200000 : 1 + i * 7 % 260;
    segments.push_back({offset, count, i % 5 == 4 ? 0.0f : 1.0f + 0.1f * static_cast<float>(i % 3),
                        i % 2 == 0 ? 0.01f : 0.0f, static_cast<uint64_t>(i % 3)});
    offset += (count + 63) / 64 * 64 + (i % 4 == 0 ? 64 : 0);
  }
  const Shape shape{1, 1, 1, static_cast<int>(offset)};
  const StepState state{.update = 3, .lr = 0.01f};
  const ExamineDesc clipping{.clip_norm = 100, .loss_scaling = true};
  const Array gradients = Array::normal(shape, DType::f32, 2);
  const auto run = [&](Ops& ops, const Array& p, const Array& m, const Array& v, const Array& a) {
    const OptimBuffers buffers{.parameters = p().as<float>(),
                               .gradients = gradients().as<float>(),
                               .moment1 = m().as<float>(),
                               .moment2 = v().as<float>(),
                               .averages = a().as<float>(),
                               .average_decay = 0.3f};
    GradientState gradient{.loss_scale = 8};
    std::vector<std::byte> workspace(ops.optim->workspace_bytes(offset));
    ops.optim->examine(clipping, buffers.gradients, segments, &state, &gradient, workspace.data());
    ops.optim->adamw({}, buffers, segments, &state, &gradient);
    ops.optim->sgd({.nesterov = true}, buffers, segments, &state, &gradient);
    return gradient;
  };
  const auto zeros = [&] { return Array(shape, DType::f32); };
  const Array actual = Array::normal(shape, DType::f32, 1), m = zeros(), v = zeros(), a = zeros();
  const Array expected = Array::normal(shape, DType::f32, 1), m2 = zeros(), v2 = zeros(),
              a2 = zeros();
  const GradientState found = run(emulated_, actual, m, v, a);
  const GradientState wanted = run(reference_, expected, m2, v2, a2);
  EXPECT_NEAR(found.norm, wanted.norm, 1e-6f * wanted.norm);
  EXPECT_NEAR(found.factor, wanted.factor, 1e-6f * wanted.factor);
  EXPECT_LT(wanted.factor, 0.9f / 8) << "it clips";
  expect_near(actual, expected, 1e-6f);
  expect_near(m, m2, 1e-6f);
  expect_near(v, v2, 1e-6f);
  expect_near(a, a2, 1e-6f);
}

}  // namespace
}  // namespace macadam
