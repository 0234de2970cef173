#include <algorithm>

#include "base/to_size.h"
#include "kernels/reference/activation.h"
#include "kernels/reference/array.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

/// The parameters in double, as pack() leaves them.
struct Parameters {
  Array w1, b1, w2, b2;

  explicit Parameters(const SqueezeExciteDesc& d)
      : w1(Shape{d.hidden, 1, 1, d.channels}),
        b1(Shape{1, 1, 1, d.hidden}),
        w2(Shape{d.channels, 1, 1, d.hidden}),
        b2(Shape{1, 1, 1, d.channels}) {}
  Parameters(const SqueezeExciteDesc& d, const void* packed) : Parameters(d) {
    const auto* in = static_cast<const double*>(packed);
    for (Array* array : {&w1, &b1, &w2, &b2}) {
      const size_t count = array->values().size();
      std::copy_n(in, count, array->values().begin());
      in += count;
    }
  }
};

class ReferenceSqueezeExciteOps : public SqueezeExciteOps {
 public:
  size_t packed_bytes(const SqueezeExciteDesc& d) const override {
    return sizeof(double) *
           (2 * to_size(d.hidden) * to_size(d.channels) + to_size(d.hidden + d.channels));
  }
  size_t workspace_bytes(const SqueezeExciteDesc&) const override { return 0; }

  void pack(const SqueezeExciteDesc& d, const SqueezeExciteParameters& p, void* packed) override {
    require_shapes(d, p);
    auto* out = static_cast<double*>(packed);
    for (const Tensor* tensor : {&p.w1, &p.b1, &p.w2, &p.b2}) {
      const Array array(*tensor);
      const bool weights = tensor == &p.w1 || tensor == &p.w2;
      for (const double value : array.values()) {
        *out++ = !weights ? value : visit_float(d.dtype, [&](auto zero) -> double {
          return scalar::to_float(scalar::from_float<decltype(zero)>(static_cast<float>(value)));
        });
      }
    }
  }

  void gates(const SqueezeExciteDesc& d, const Tensor& means, const void* packed,
             const Tensor& squeezed, const Tensor& gates) override {
    const Parameters p(d, packed);
    const Array m(means);
    Array z(d.squeezed()), g(d.vectors());
    for (int n = 0; n < d.images; ++n) {
      for (int r = 0; r < d.hidden; ++r) {
        z(n, 0, 0, r) = p.b1[r];
        for (int c = 0; c < d.channels; ++c) z(n, 0, 0, r) += p.w1(r, 0, 0, c) * m(n, 0, 0, c);
      }
      for (int c = 0; c < d.channels; ++c) {
        double sum = p.b2[c];
        for (int r = 0; r < d.hidden; ++r) {
          sum += p.w2(c, 0, 0, r) * activated(d.activation, z(n, 0, 0, r));
        }
        g(n, 0, 0, c) = activated(d.gate, sum);
      }
    }
    if (squeezed.data != nullptr) z.write(squeezed);
    g.write(gates);
  }

  void backward(const SqueezeExciteDesc& d, const Tensor& means, const void* packed,
                const Tensor& squeezed, const Tensor& gates, const Tensor& dgates,
                const Tensor& dmeans, const SqueezeExciteParameters& gradients, void*) override {
    require_shapes(d, gradients);
    const Parameters p(d, packed);
    Parameters dp(d);
    const Array m(means), z(squeezed), g(gates), d_g(dgates);
    Array d_m(d.vectors());
    for (int n = 0; n < d.images; ++n) {
      Array d_h(Shape{1, 1, 1, d.hidden});
      for (int c = 0; c < d.channels; ++c) {
        const double d_sum = gradient_from(d.gate, g(n, 0, 0, c), d_g(n, 0, 0, c));
        dp.b2[c] += d_sum;
        for (int r = 0; r < d.hidden; ++r) {
          dp.w2(c, 0, 0, r) += d_sum * activated(d.activation, z(n, 0, 0, r));
          d_h[r] += d_sum * p.w2(c, 0, 0, r);
        }
      }
      for (int r = 0; r < d.hidden; ++r) {
        const double d_z = activation_gradient(d.activation, z(n, 0, 0, r), d_h[r]);
        dp.b1[r] += d_z;
        for (int c = 0; c < d.channels; ++c) {
          dp.w1(r, 0, 0, c) += d_z * m(n, 0, 0, c);
          d_m(n, 0, 0, c) += d_z * p.w1(r, 0, 0, c);
        }
      }
    }
    d_m.write(dmeans);
    dp.w1.write(gradients.w1);
    dp.b1.write(gradients.b1);
    dp.w2.write(gradients.w2);
    dp.b2.write(gradients.b2);
  }
};

}  // namespace

std::unique_ptr<SqueezeExciteOps> make_squeeze_excite_ops() {
  return std::make_unique<ReferenceSqueezeExciteOps>();
}

}  // namespace macadam::reference
