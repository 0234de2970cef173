#pragma once
// The activations in double, for every reference op that has one behind it.

#include "kernels/activation.h"

namespace macadam::reference {

double activated(Activation kind, double x);

/// The gradient of x from `saved` (x where gradient_reads_input(kind), else y) and that of y.
double gradient_from(Activation kind, double saved, double dy);

/// The gradient of x, from x and the gradient of activated(kind, x).
double activation_gradient(Activation kind, double x, double dy);

}  // namespace macadam::reference
