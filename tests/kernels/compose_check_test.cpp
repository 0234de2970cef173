// What NormOps::compose requires of its six tensors.

#include <gtest/gtest.h>

#include <stdexcept>

#include "kernels/norm.h"

using namespace macadam;

namespace {

Tensor of(Shape shape) { return {nullptr, shape, DType::f32}; }

/// 7 channels to 5 by 3x3, then to 2.
struct Composed {
  Shape first{5, 3, 3, 7}, first_bias{1, 1, 1, 5}, second{2, 1, 1, 5}, second_bias{1, 1, 1, 2},
      product{2, 3, 3, 7}, product_bias{1, 1, 1, 2};

  void check() const {
    check_compose(of(first), of(first_bias), of(second), of(second_bias), of(product),
                  of(product_bias));
  }
};

TEST(ComposeCheck, TakesShapesThatMatchAndNoOthers) {
  EXPECT_NO_THROW(Composed().check());
  EXPECT_THROW((Composed{.second = {2, 1, 1, 7}}.check()), std::logic_error);
  EXPECT_THROW((Composed{.second = {2, 3, 3, 5}}.check()), std::logic_error);
  EXPECT_THROW((Composed{.product = {2, 7, 3, 3}}.check()), std::logic_error);
  EXPECT_THROW((Composed{.product = {5, 3, 3, 7}}.check()), std::logic_error);
  EXPECT_THROW((Composed{.first_bias = {1, 1, 1, 2}}.check()), std::logic_error);
  EXPECT_THROW((Composed{.second_bias = {1, 1, 1, 5}}.check()), std::logic_error);
  EXPECT_THROW((Composed{.product_bias = {1, 1, 1, 7}}.check()), std::logic_error);
}

}  // namespace
