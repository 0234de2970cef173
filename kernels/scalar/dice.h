#pragma once
// Soft Dice of one class from its three sums, and its derivative by a pixel's probability.
// Source: Milletari, Navab, Ahmadi, "V-Net" (3DV 2016), with sums in place of squares.

#include "kernels/scalar/host_device.h"

namespace macadam::scalar {

/// loss = 1 - (2 I + smooth) / (P + G + smooth). Its derivative by the probability of a pixel is
/// `miss` where the pixel's label is another class and `hit` where it is this one.
struct DiceTerm {
  float loss;
  float hit, miss;
};

/// All sums empty and smooth = 0 gives a loss of 0 without gradient.
MACADAM_HD DiceTerm dice_term(double intersection, double predicted, double labelled,
                              double smooth) {
  const double denominator = predicted + labelled + smooth;
  if (denominator <= 0) return {0.0f, 0.0f, 0.0f};
  const double ratio = (2 * intersection + smooth) / denominator;
  const double miss = ratio / denominator;
  return {static_cast<float>(1 - ratio), static_cast<float>(miss - 2 / denominator),
          static_cast<float>(miss)};
}

}  // namespace macadam::scalar
