#include "kernels/elementwise.h"

namespace macadam {

namespace {

Shape one_channel(Shape shape) {
  shape.c = 1;
  return shape;
}

}  // namespace

bool check_multiply(const Tensor& a, const Tensor& b, const Tensor& y) {
  require(a.dtype == y.dtype && b.dtype == y.dtype, "multiply: one dtype");
  const bool factors = b.shape != a.shape;
  require(a.shape == y.shape && (!factors || b.shape == one_channel(a.shape)),
          "multiply: shapes are equal, or b has one channel");
  return factors;
}

void check_dot(const Tensor& a, const Tensor& b, const Tensor& y) {
  require(a.dtype == y.dtype && b.dtype == y.dtype, "dot: one dtype");
  require(a.shape == b.shape && y.shape == one_channel(a.shape), "dot: y has one channel");
}

}  // namespace macadam
