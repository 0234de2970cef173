#include "kernels/reference/activation.h"

#include <algorithm>
#include <cmath>

#include "base/to_size.h"
#include "kernels/reference/array.h"
#include "kernels/reference/reference_ops.h"
#include "kernels/scalar/dropout.h"

namespace macadam::reference {
namespace {

bool keeps(const Dropout& dropout, size_t element) {
  return scalar::dropout_keeps(dropout.seed, dropout.state->step, dropout.layer,
                               static_cast<uint32_t>(element), dropout.threshold());
}

/// Keeps and scales, or drops, every element in dense NHWC order.
Array masked(const Array& x, const Dropout& dropout) {
  Array y(x.shape());
  for (size_t i = 0; i < x.values().size(); ++i) {
    if (keeps(dropout, i)) y.values()[i] = x.values()[i] * double{dropout.scale()};
  }
  return y;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double hard_sigmoid(double x) { return std::clamp(x + 3, 0.0, 6.0) / 6; }

}  // namespace

double gradient_from(Activation kind, double saved, double dy) {
  switch (kind) {
    case Activation::identity: return dy;
    case Activation::relu: return saved > 0 ? dy : 0;
    case Activation::relu6: return saved > 0 && saved < 6 ? dy : 0;
    case Activation::sigmoid: return dy * saved * (1 - saved);
    case Activation::silu: return dy * sigmoid(saved) * (1 + saved * sigmoid(-saved));
    case Activation::hardswish: return saved <= -3 ? 0 : saved >= 3 ? dy : dy * (2 * saved + 3) / 6;
    case Activation::hardsigmoid: return saved > 0 && saved < 1 ? dy / 6 : 0;
  }
  throw std::logic_error("requirement violated: an activation");
}

double activated(Activation kind, double x) {
  if (std::isnan(x)) return x;
  switch (kind) {
    case Activation::identity: return x;
    case Activation::relu: return std::max(x, 0.0);
    case Activation::relu6: return std::clamp(x, 0.0, 6.0);
    case Activation::sigmoid: return sigmoid(x);
    case Activation::silu: return x * sigmoid(x);
    case Activation::hardswish: return x <= -3 ? 0 : x * hard_sigmoid(x);
    case Activation::hardsigmoid: return hard_sigmoid(x);
  }
  throw std::logic_error("requirement violated: an activation");
}

double activation_gradient(Activation kind, double x, double dy) {
  return gradient_from(kind, gradient_reads_input(kind) ? x : activated(kind, x), dy);
}

namespace {

class ReferenceActivationOps : public ActivationOps {
 public:
  void activate(Activation kind, const Tensor& x, const Tensor& y) override {
    Array out(x);
    for (double& v : out.values()) v = activated(kind, v);
    out.write(y);
  }

  void activate_backward(Activation kind, const Tensor& saved, const Tensor& dy, const Tensor& dx,
                         bool accumulate) override {
    const Array given(saved), d_out(dy);
    Array d_in(dx.shape);
    for (size_t i = 0; i < given.values().size(); ++i)
      d_in.values()[i] = gradient_from(kind, given.values()[i], d_out.values()[i]);
    d_in.write(dx, accumulate);
  }

  void dropout(const Tensor& x, const Tensor& y, const Dropout& dropout) override {
    masked(Array(x), dropout).write(y);
  }

  void dropout_backward(const Tensor& dy, const Tensor& dx, const Dropout& dropout,
                        bool accumulate) override {
    masked(Array(dy), dropout).write(dx, accumulate);
  }

  void drop_path(const Tensor& x, const Tensor& y, const Dropout& dropout,
                 bool accumulate) override {
    const Array in(x);
    Array out(x.shape);
    for_each(x.shape, [&](int n, int h, int w, int c) {
      if (keeps(dropout, to_size(n))) out(n, h, w, c) = in(n, h, w, c) * double{dropout.scale()};
    });
    out.write(y, accumulate);
  }
};

}  // namespace

std::unique_ptr<ActivationOps> make_activation_ops() {
  return std::make_unique<ReferenceActivationOps>();
}

}  // namespace macadam::reference
