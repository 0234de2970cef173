// The kernels around cuDNN's convolutions, which no op of the table reaches without a GPU.

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "as_emulated.h"
#include "base/to_size.h"
#include "kernels/cuda/conv_epilogue.h"

namespace macadam {
namespace {

using scalar::to_float;

template <typename T>
class ConvEpilogue : public ::testing::Test {
 protected:
  /// A dense tensor of normal values in `memory`.
  Tensor normal(std::vector<T>& memory, Shape shape, unsigned seed) {
    memory.resize(to_size(shape.elements()));
    std::mt19937 random(seed);
    std::normal_distribution<float> distribution;
    for (T& value : memory) value = scalar::from_float<T>(distribution(random));
    return Tensor(memory.data(), shape, DTypeOf<T>::value);
  }

  static constexpr Shape kShapes[] = {
      {1, 1, 1, 1}, {2, 5, 9, 19}, {1, 16, 32, 12}, {3, 33, 35, 64}, {1, 31, 40, 515}};
  Stream stream;
};
using FloatTypes = ::testing::Types<float, bf16, f16>;
TYPED_TEST_SUITE(ConvEpilogue, FloatTypes);

TYPED_TEST(ConvEpilogue, AddBias) {
  for (const Shape& shape : this->kShapes) {
    for (const Activation activation : {Activation::identity, Activation::relu}) {
      std::vector<TypeParam> memory, bias;
      const Tensor y = this->normal(memory, shape, 1);
      this->normal(bias, {1, 1, 1, shape.c}, 2);
      std::vector<TypeParam> expected = memory;
      for (size_t i = 0; i < expected.size(); ++i) {
        float sum = to_float(expected[i]) + to_float(bias[i % bias.size()]);
        if (activation == Activation::relu && sum < 0) sum = 0;
        expected[i] = scalar::from_float<TypeParam>(sum);
      }
      emulated::add_bias(this->stream, y, bias.data(), activation);
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(to_float(memory[i]), to_float(expected[i])) << shape.text() << " element " << i;
      }
    }
  }
}

TYPED_TEST(ConvEpilogue, RandomValuesSpreadOverTheirRange) {
  std::vector<TypeParam> a(5000), b(5000);
  emulated::fill_random(this->stream, a.data(), DTypeOf<TypeParam>::value, 5000, 1);
  emulated::fill_random(this->stream, b.data(), DTypeOf<TypeParam>::value, 5000, 2);
  double mean = 0, square = 0, product = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(to_float(a[i])), y = static_cast<double>(to_float(b[i]));
    ASSERT_LE(std::abs(x), 1);
    mean += x / 5000;
    square += x * x / 5000;
    product += x * y / 5000;
  }
  EXPECT_NEAR(mean, 0, 0.03);
  EXPECT_NEAR(square, 1.0 / 3, 0.02);
  EXPECT_NEAR(product, 0, 0.02);
}

}  // namespace
}  // namespace macadam
