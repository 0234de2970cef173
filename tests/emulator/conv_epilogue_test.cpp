// The kernels around cuDNN's convolutions, which no op of the table reaches without a GPU.

#include "as_emulated.h"
// as_emulated.h renames the namespace of what follows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "kernels/cuda/conv_epilogue.h"
#include "kernels/scalar/half.h"

namespace macadam {
namespace {

constexpr Shape shapes[] = {{1, 1, 1, 1},   {2, 5, 9, 32},   {1, 7, 11, 19}, {3, 64, 65, 8},
                            {1, 3, 4, 300}, {1, 33, 64, 64}, {2, 3, 5, 12}};

template <typename T>
class ConvEpilogue : public testing::Test {};
using Types = testing::Types<float, bf16, f16>;
TYPED_TEST_SUITE(ConvEpilogue, Types);

template <typename T>
std::vector<T> normal(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> value(0.25f, 1);
  std::vector<T> values(count);
  for (T& v : values) v = scalar::from_float<T>(value(random));
  return values;
}

TYPED_TEST(ConvEpilogue, AddsBiasToEveryPixel) {
  using T = TypeParam;
  Stream stream;
  for (const Shape& shape : shapes) {
    for (const bool relu : {false, true}) {
      const auto before = normal<T>(static_cast<size_t>(shape.elements()), 1);
      alignas(16) T bias[300];
      std::ranges::copy(normal<T>(300, 2), bias);
      std::vector<T> y = before;
      y[0] = scalar::from_float<T>(std::numeric_limits<float>::quiet_NaN());
      emulated::add_bias(stream, Tensor(y.data(), shape, DTypeOf<T>::value), bias, relu);
      EXPECT_TRUE(std::isnan(scalar::to_float(y[0])));
      for (size_t i = 1; i < y.size(); ++i) {
        const size_t channel = i % static_cast<size_t>(shape.c);
        float want = scalar::to_float(before[i]) + scalar::to_float(bias[channel]);
        if (relu) want = std::max(want, 0.0f);
        ASSERT_EQ(scalar::to_float(y[i]), scalar::to_float(scalar::from_float<T>(want)))
            << shape.text() << " at " << i;
      }
    }
  }
}

TYPED_TEST(ConvEpilogue, SumsEveryChannel) {
  using T = TypeParam;
  Stream stream;
  for (const Shape& shape : shapes) {
    auto x = normal<T>(static_cast<size_t>(shape.elements()), 3);
    std::vector<double> want(static_cast<size_t>(shape.c));
    for (size_t i = 0; i < x.size(); ++i) want[i % want.size()] += scalar::to_float(x[i]);

    std::vector<std::byte> workspace(emulated::channel_sums_workspace_bytes(shape));
    std::vector<float> sums(want.size(), std::numeric_limits<float>::quiet_NaN());
    emulated::channel_sums(stream, Tensor(x.data(), shape, DTypeOf<T>::value), sums.data(),
                           workspace.data());
    for (size_t c = 0; c < want.size(); ++c) {
      ASSERT_NEAR(sums[c], want[c], 1e-5 * std::sqrt(static_cast<double>(shape.pixels())) + 1e-6)
          << shape.text() << " channel " << c;
    }
  }
}

TYPED_TEST(ConvEpilogue, RandomDataIsUniform) {
  using T = TypeParam;
  Stream stream;
  std::vector<T> values(10000), again(10000), other(10000);
  const auto count = static_cast<int64_t>(values.size());
  emulated::fill_random(stream, values.data(), DTypeOf<T>::value, count, 1);
  emulated::fill_random(stream, again.data(), DTypeOf<T>::value, count, 1);
  emulated::fill_random(stream, other.data(), DTypeOf<T>::value, count, 2);
  double sum = 0, squares = 0, product = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double v = scalar::to_float(values[i]);
    ASSERT_EQ(v, scalar::to_float(again[i]));
    ASSERT_GE(v, -1);
    ASSERT_LE(v, 1);
    sum += v;
    squares += v * v;
    product += v * scalar::to_float(other[i]);
  }
  EXPECT_NEAR(sum / 10000, 0, 0.03);
  EXPECT_NEAR(squares / 10000, 1.0 / 3, 0.02);
  EXPECT_NEAR(product / 10000, 0, 0.03);
}

}  // namespace
}  // namespace macadam
