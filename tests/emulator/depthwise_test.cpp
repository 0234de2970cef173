// The depthwise convolution where the table of small cases does not reach: many blocks and chunks
// of a sum, memory that allows no vectors, the same sums twice.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "as_emulated.h"
#include "base/to_size.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/reference/reference_ops.h"

namespace macadam {
namespace {

ConvDesc depthwise(Shape input, int size, int stride, DType dtype, Padding padding) {
  return {.input = input,
          .out_channels = input.c,
          .kernel_h = size,
          .kernel_w = size,
          .stride = stride,
          .padding = padding,
          .groups = input.c,
          .bias = true,
          .activation = Activation::relu,
          .dtype = dtype,
          .backward = true};
}

/// Elements of a tensor, `skip` elements behind an aligned address, NaN at first.
class Array {
 public:
  Array(Shape shape, DType dtype, size_t skip)
      : memory_(to_size(shape.elements()) + skip + 1, std::numeric_limits<float>::quiet_NaN()),
        tensor_(reinterpret_cast<std::byte*>(memory_.data()) + skip * size_of(dtype), shape,
                dtype) {}

  void fill(unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> distribution(0.1f, 1.0f);
    visit_float(tensor_.dtype, [&](auto type) {
      using T = decltype(type);
      for (int64_t i = 0; i < tensor_.shape.elements(); ++i) {
        tensor_.as<T>()[i] = scalar::from_float<T>(distribution(random));
      }
    });
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

 private:
  std::vector<float> memory_;
  Tensor tensor_;
};

/// What a convolution gives.
struct Results {
  Array y, dx, dw;

  Results(Convolution& conv, const ConvDesc& d, size_t skip)
      : y(d.output(), d.dtype, skip), dx(d.input, d.dtype, skip), dw(d.weights(), DType::f32, 0) {
    Array x(d.input, d.dtype, skip), dy(d.output(), d.dtype, skip);
    Array w(d.weights(), DType::f32, 0), b({1, 1, 1, d.out_channels}, DType::f32, 0);
    x.fill(1);
    dy.fill(2);
    w.fill(3);
    b.fill(4);
    std::vector<double> packed(conv.packed_bytes() / sizeof(double) + 1);
    std::vector<double> workspace(conv.workspace_bytes() / sizeof(double) + 1);
    conv.pack(w(), b(), packed.data());
    conv.forward(x(), packed.data(), y(), workspace.data());
    conv.backward_data(dy(), packed.data(), dx(), workspace.data());
    conv.backward_weights(x(), dy(), dw(), workspace.data());
  }
};

void expect_near(const Array& actual, const Array& expected, float tolerance) {
  const std::vector<float> a = actual.values(), b = expected.values();
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_NEAR(a[i], b[i], tolerance * (1 + std::abs(b[i]))) << "element " << i;
  }
}

class Depthwise : public ::testing::Test {
 protected:
  void compare(const ConvDesc& desc, size_t skip = 0) {
    SCOPED_TRACE(desc.input.text() + " " + std::to_string(desc.kernel_h) + "x" +
                 std::to_string(desc.kernel_w) + " stride " + std::to_string(desc.stride));
    const auto conv = emulated::make_depthwise(stream_, desc);
    const auto reference = make_reference_ops().conv->make(desc);
    const Results actual(*conv, desc, skip), expected(*reference, desc, skip);
    const float rounding = desc.dtype == DType::f32 ? 1e-6f : 0x1p-8f;
    expect_near(actual.y, expected.y, 4 * rounding);
    expect_near(actual.dx, expected.dx, 4 * rounding);
    expect_near(actual.dw, expected.dw, 1e-4f);
    const Results again(*conv, desc, skip);
    EXPECT_EQ(actual.dw.values(), again.dw.values());
  }

 private:
  Stream stream_;
};

TEST_F(Depthwise, ManyBlocks) {
  compare(depthwise({2, 61, 67, 16}, 3, 1, DType::bf16, Padding::all(1)));
  compare(depthwise({1, 64, 96, 24}, 5, 2, DType::bf16, {1, 2, 1, 2}));
  compare(depthwise({1, 33, 35, 144}, 3, 2, DType::f16, {0, 1, 0, 1}));
  compare(depthwise({1, 41, 53, 40}, 5, 1, DType::f32, Padding::all(2)));
  compare(depthwise({1, 30, 141, 4}, 3, 1, DType::f32, Padding::all(1)));
  compare(depthwise({3, 23, 29, 35}, 3, 2, DType::f32, Padding::all(1)));
}

TEST_F(Depthwise, UnalignedTensors) {
  compare(depthwise({1, 9, 13, 16}, 3, 1, DType::bf16, Padding::all(1)), 1);
  compare(depthwise({1, 9, 13, 16}, 5, 2, DType::f32, {1, 2, 1, 2}), 1);
}

TEST_F(Depthwise, EveryCombinationOfSizeAndPadding) {
  for (const int size : {3, 5}) {
    for (const int stride : {1, 2}) {
      for (int extent = 1; extent <= 9; ++extent) {
        for (int left = 0; left < size; ++left) {
          const int least = std::max(0, size - extent - left);
          compare(depthwise({1, extent, 10 - extent, 4}, size, stride, DType::f32,
                            {left, size - 1, left, least + extent % 2}));
        }
      }
    }
  }
}

TEST(IsDepthwise, TakesOneFilterAChannel) {
  const ConvDesc base = depthwise({1, 8, 8, 6}, 3, 1, DType::f32, Padding::all(1));
  EXPECT_TRUE(emulated::is_depthwise(base));
  const auto changed = [&](auto&& change) {
    ConvDesc desc = base;
    change(desc);
    return emulated::is_depthwise(desc);
  };
  EXPECT_TRUE(changed([](ConvDesc& d) { d.kernel_h = d.kernel_w = 5; }));
  EXPECT_TRUE(changed([](ConvDesc& d) { d.stride = 2; }));
  EXPECT_FALSE(changed([](ConvDesc& d) { d.groups = 3; }));
  EXPECT_FALSE(changed([](ConvDesc& d) { d.out_channels = 12; }));
  EXPECT_FALSE(changed([](ConvDesc& d) { d.kernel_h = 5; }));
  EXPECT_FALSE(changed([](ConvDesc& d) { d.kernel_h = d.kernel_w = 7; }));
  EXPECT_FALSE(changed([](ConvDesc& d) { d.stride = 3; }));
  EXPECT_FALSE(changed([](ConvDesc& d) { d.dilation = 2; }));
}

}  // namespace
}  // namespace macadam
