#include "kernels/reference/array.h"
#include "kernels/reference/families.h"
#include "kernels/scalar/dropout.h"

namespace macadam::reference {
namespace {

/// Keeps and scales, or drops, every element in dense NHWC order.
Array masked(const Array& x, const Dropout& dropout) {
  Array y(x.shape());
  for (size_t i = 0; i < x.values().size(); ++i) {
    const auto group = static_cast<uint32_t>(i / scalar::kDropoutGroup);
    const auto lane = static_cast<int>(i % scalar::kDropoutGroup);
    const scalar::PhiloxBlock block =
        scalar::dropout_block(dropout.seed, dropout.state->step, dropout.layer, group);
    if (scalar::dropout_keeps(block, lane, dropout.threshold()))
      y.values()[i] = x.values()[i] * double{dropout.scale()};
  }
  return y;
}

class ReferenceActivationOps : public ActivationOps {
 public:
  void relu(const Tensor& x, const Tensor& y) override {
    Array out(x);
    for (double& v : out.values())
      if (v < 0) v = 0;
    out.write(y);
  }

  void relu_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, float scale,
                     bool accumulate) override {
    const Array out(y), d_out(dy);
    Array d_in(y.shape);
    for (size_t i = 0; i < out.values().size(); ++i)
      if (out.values()[i] > 0) d_in.values()[i] = d_out.values()[i] * double{scale};
    d_in.write(dx, accumulate);
  }

  void dropout(const Tensor& x, const Tensor& y, const Dropout& dropout) override {
    masked(Array(x), dropout).write(y);
  }

  void dropout_backward(const Tensor& dy, const Tensor& dx, const Dropout& dropout,
                        bool accumulate) override {
    masked(Array(dy), dropout).write(dx, accumulate);
  }
};

}  // namespace

std::unique_ptr<ActivationOps> make_activation_ops() {
  return std::make_unique<ReferenceActivationOps>();
}

}  // namespace macadam::reference
