#include "kernels/norm.h"

namespace macadam {

namespace {

bool alike(const Tensor& a, const Tensor& b) { return a.shape == b.shape && a.dtype == b.dtype; }

void check_addition(const BatchNormDesc& desc) {
  require(desc.activation == Activation::identity || desc.activation == Activation::relu,
          "batch norm: the identity or ReLU behind an addition");
  require(desc.drop_path.p == 0 || desc.drop_path.state != nullptr,
          "batch norm: the step of stochastic depth is given");
}

}  // namespace

void check_train(const BatchNormDesc& desc, const Tensor& x, const Tensor& skip, const Tensor& y) {
  require(alike(x, y), "batch norm: x and y match");
  if (!desc.adds) return;
  check_addition(desc);
  require(skip.data != nullptr && alike(x, skip), "batch norm: x and what is added match");
}

void check_backward(const BatchNormDesc& desc, const Tensor& x, const Tensor& dy,
                    const Tensor& dmeans, const SkipGradient& skip, const Tensor& dx) {
  require(alike(x, dy) && (dx.data == nullptr || alike(x, dx)), "batch norm: x, dy and dx match");
  require(
      dmeans.data == nullptr || (!desc.adds && dmeans.shape == Shape{x.shape.n, 1, 1, x.shape.c} &&
                                 dmeans.dtype == x.dtype),
      "batch norm: a mean an image and channel, where nothing is added");
  if (!desc.adds) return;
  check_addition(desc);
  require(!desc.backward_reads_output() || (skip.y.data != nullptr && alike(x, skip.y)),
          "batch norm: x and y match");
  if (skip.dskip.data == nullptr) return;
  require(alike(x, skip.dskip), "batch norm: x and dskip match");
  require(skip.dskip.data != dx.data, "batch norm: dskip and dx lie apart");
  require(!skip.accumulate || skip.dskip.data != dy.data, "batch norm: dy is not added to itself");
}

void check_compose(const Tensor& first, const Tensor& first_bias, const Tensor& second,
                   const Tensor& second_bias, const Tensor& product, const Tensor& product_bias) {
  const int filters = second.shape.n, middle = first.shape.n;
  const Shape window = first.shape;
  require(second.shape == Shape{filters, 1, 1, middle} &&
              product.shape == Shape{filters, window.h, window.w, window.c},
          "compose: weights match");
  require(first_bias.shape == Shape{1, 1, 1, middle} &&
              second_bias.shape == Shape{1, 1, 1, filters} &&
              product_bias.shape == second_bias.shape,
          "compose: a bias a filter");
}

}  // namespace macadam
