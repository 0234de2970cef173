#include "kernels/norm.h"

namespace macadam {

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
