#include <cmath>

#include "kernels/reference/activation.h"
#include "kernels/reference/array.h"
#include "kernels/reference/reference_ops.h"
#include "kernels/scalar/dropout.h"

namespace macadam::reference {
namespace {

class ReferenceNormOps : public NormOps {
 public:
  size_t workspace_bytes(Shape) const override { return 0; }

  void train(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma, const Tensor& beta,
             const Tensor& running_mean, const Tensor& running_var, const Tensor& saved_mean,
             const Tensor& saved_inv_std, const Tensor& skip, const Tensor& y, void*) override {
    check_train(desc, x, skip, y);
    if (desc.frozen) {
      const Array mean(running_mean), inv_std = inverse_std(desc, running_var);
      finish(desc, normalize(Array(x), Array(gamma), Array(beta), mean, inv_std), skip).write(y);
      mean.write(saved_mean);
      inv_std.write(saved_inv_std);
      return;
    }
    const Array in(x);
    const Shape vector{1, 1, 1, x.shape.c};
    const auto count = static_cast<double>(x.shape.pixels());

    Array mean(vector), var(vector), inv_std(vector);
    for_each(x.shape, [&](int n, int h, int w, int c) { mean[c] += in(n, h, w, c) / count; });
    for_each(x.shape, [&](int n, int h, int w, int c) {
      var[c] += std::pow(in(n, h, w, c) - mean[c], 2) / count;
    });
    for (int c = 0; c < x.shape.c; ++c) inv_std[c] = 1 / std::sqrt(var[c] + double{desc.eps});

    const double m = desc.momentum;
    const double unbias = count > 1 ? count / (count - 1) : 1;
    Array next_mean(running_mean), next_var(running_var);
    for (int c = 0; c < x.shape.c; ++c) {
      next_mean[c] = (1 - m) * next_mean[c] + m * mean[c];
      next_var[c] = (1 - m) * next_var[c] + m * var[c] * unbias;
    }

    finish(desc, normalize(in, Array(gamma), Array(beta), mean, inv_std), skip).write(y);
    mean.write(saved_mean);
    inv_std.write(saved_inv_std);
    next_mean.write(running_mean);
    next_var.write(running_var);
  }

  void infer(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma, const Tensor& beta,
             const Tensor& running_mean, const Tensor& running_var, const Tensor& y) override {
    require(!desc.adds, "batch norm: infer() adds nothing");
    finish(desc,
           normalize(Array(x), Array(gamma), Array(beta), Array(running_mean),
                     inverse_std(desc, running_var)),
           {})
        .write(y);
  }

  void backward(const BatchNormDesc& desc, const Tensor& x, const Tensor& dy, const Tensor& dmeans,
                const Tensor& gamma, const Tensor& beta, const Tensor& saved_mean,
                const Tensor& saved_inv_std, const SkipGradient& skip, const Tensor& dx,
                const Tensor& dgamma, const Tensor& dbeta, void*) override {
    check_backward(desc, x, dy, dmeans, skip, dx);
    const Array in(x), g(gamma), b(beta), mean(saved_mean), inv_std(saved_inv_std);
    const Shape vector{1, 1, 1, x.shape.c};
    const auto count = static_cast<double>(x.shape.pixels());

    const auto normalized = [&](int n, int h, int w, int c) {
      return (in(n, h, w, c) - mean[c]) * inv_std[c];
    };
    Array d_out(dy);
    if (dmeans.data != nullptr) {
      const Array d_means(dmeans);
      for_each(x.shape, [&](int n, int h, int w, int c) {
        d_out(n, h, w, c) += d_means(n, 0, 0, c) / (static_cast<double>(x.shape.h) * x.shape.w);
      });
    }
    if (desc.adds) {
      if (desc.backward_reads_output()) {
        const Array out(skip.y);
        for_each(x.shape, [&](int n, int h, int w, int c) {
          d_out(n, h, w, c) = gradient_from(desc.activation, out(n, h, w, c), d_out(n, h, w, c));
        });
      }
      if (skip.dskip.data != nullptr) d_out.write(skip.dskip, skip.accumulate);
      for_each(x.shape,
               [&](int n, int h, int w, int c) { d_out(n, h, w, c) *= sample_factor(desc, n); });
    } else {
      for_each(x.shape, [&](int n, int h, int w, int c) {
        d_out(n, h, w, c) = activation_gradient(
            desc.activation, normalized(n, h, w, c) * g[c] + b[c], d_out(n, h, w, c));
      });
    }

    Array d_gamma(vector), d_beta(vector);
    for_each(x.shape, [&](int n, int h, int w, int c) {
      d_gamma[c] += d_out(n, h, w, c) * normalized(n, h, w, c);
      d_beta[c] += d_out(n, h, w, c);
    });
    Array d_in(x.shape);
    for_each(x.shape, [&](int n, int h, int w, int c) {
      const double through_statistics =
          desc.frozen ? 0 : (d_beta[c] + normalized(n, h, w, c) * d_gamma[c]) / count;
      d_in(n, h, w, c) = g[c] * inv_std[c] * (d_out(n, h, w, c) - through_statistics);
    });
    if (dx.data != nullptr) d_in.write(dx);
    d_gamma.write(dgamma);
    d_beta.write(dbeta);
  }

  void fold(const BatchNormDesc& desc, const Tensor& weights, const Tensor& bias,
            const Tensor& gamma, const Tensor& beta, const Tensor& running_mean,
            const Tensor& running_var, const Tensor& folded_weights,
            const Tensor& folded_bias) override {
    const Array g(gamma), b(beta), mean(running_mean), inv_std = inverse_std(desc, running_var);
    Array w(weights), shift(folded_bias.shape);
    if (bias.data != nullptr) shift = Array(bias);
    for_each(weights.shape,
             [&](int k, int h, int v, int c) { w(k, h, v, c) *= g[k] * inv_std[k]; });
    for (int k = 0; k < weights.shape.n; ++k) {
      shift[k] = (shift[k] - mean[k]) * g[k] * inv_std[k] + b[k];
    }
    w.write(folded_weights);
    shift.write(folded_bias);
  }

  void compose(const Tensor& first, const Tensor& first_bias, const Tensor& second,
               const Tensor& second_bias, const Tensor& product,
               const Tensor& product_bias) override {
    check_compose(first, first_bias, second, second_bias, product, product_bias);
    const Array w1(first), b1(first_bias), w2(second), b2(second_bias);
    Array w(product.shape), b(product_bias.shape);
    for (int k = 0; k < second.shape.n; ++k) b[k] = b2[k];
    for_each(second.shape, [&](int k, int, int, int m) { b[k] += w2(k, 0, 0, m) * b1[m]; });
    for_each(product.shape, [&](int k, int h, int v, int c) {
      for (int m = 0; m < second.shape.c; ++m) w(k, h, v, c) += w2(k, 0, 0, m) * w1(m, h, v, c);
    });
    w.write(product);
    b.write(product_bias);
  }

 private:
  static Array inverse_std(const BatchNormDesc& desc, const Tensor& var) {
    Array inv_std(var);
    for (double& v : inv_std.values()) v = 1 / std::sqrt(v + double{desc.eps});
    return inv_std;
  }

  static Array normalize(const Array& x, const Array& gamma, const Array& beta, const Array& mean,
                         const Array& inv_std) {
    Array y(x.shape());
    for_each(x.shape(), [&](int n, int h, int w, int c) {
      y(n, h, w, c) = (x(n, h, w, c) - mean[c]) * inv_std[c] * gamma[c] + beta[c];
    });
    return y;
  }

  /// What comes behind normalize().
  static Array finish(const BatchNormDesc& desc, Array y, const Tensor& skip) {
    if (desc.adds) {
      const Array added(skip);
      for_each(y.shape(), [&](int n, int h, int w, int c) {
        y(n, h, w, c) = y(n, h, w, c) * sample_factor(desc, n) + added(n, h, w, c);
      });
    }
    for (double& v : y.values()) v = activated(desc.activation, v);
    return y;
  }

  /// What stochastic depth multiplies sample n by.
  static double sample_factor(const BatchNormDesc& desc, int n) {
    const Dropout& drop = desc.drop_path;
    if (drop.p == 0) return 1;
    const bool keeps = scalar::dropout_keeps(drop.seed, drop.state->step, drop.layer,
                                             static_cast<uint32_t>(n), drop.threshold());
    return keeps ? double{drop.scale()} : 0;
  }
};

}  // namespace

std::unique_ptr<NormOps> make_norm_ops() { return std::make_unique<ReferenceNormOps>(); }

}  // namespace macadam::reference
