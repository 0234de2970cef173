#include "kernels/reference/array.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

/// The shape of one value an image and channel.
Shape factors_of(Shape shape) { return {shape.n, 1, 1, shape.c}; }

class ReferenceChannelOps : public ChannelOps {
 public:
  size_t workspace_bytes(Shape) const override { return 0; }

  void mean(const Tensor& x, const Tensor& y, void*) override {
    const Array in(x);
    const double pixels = static_cast<double>(x.shape.h) * x.shape.w;
    Array out(factors_of(x.shape));
    for_each(x.shape, [&](int n, int h, int w, int c) { out(n, 0, 0, c) += in(n, h, w, c); });
    for (double& v : out.values()) v /= pixels;
    out.write(y);
  }

  void mean_backward(const Tensor& dy, const Tensor& dx, bool accumulate) override {
    const Array d_out(dy);
    const double pixels = static_cast<double>(dx.shape.h) * dx.shape.w;
    Array d_in(dx.shape);
    for_each(dx.shape,
             [&](int n, int h, int w, int c) { d_in(n, h, w, c) = d_out(n, 0, 0, c) / pixels; });
    d_in.write(dx, accumulate);
  }

  void scale(const Tensor& x, const Tensor& factors, const Tensor& y) override {
    scaled(Array(x), Array(factors)).write(y);
  }

  void scale_backward(const Tensor& x, const Tensor& factors, const Tensor& dy, const Tensor& dx,
                      bool accumulate, const Tensor& dfactors, void*) override {
    const Array d_out(dy);
    if (dfactors.data != nullptr) {
      const Array in(x);
      Array d_factors(factors_of(dy.shape));
      for_each(dy.shape, [&](int n, int h, int w, int c) {
        d_factors(n, 0, 0, c) += d_out(n, h, w, c) * in(n, h, w, c);
      });
      d_factors.write(dfactors);
    }
    if (dx.data != nullptr) scaled(d_out, Array(factors)).write(dx, accumulate);
  }

  void add_bias(const Tensor& x, const Tensor& bias, const Tensor& y) override {
    Array out(x);
    const Array b(bias);
    for_each(x.shape, [&](int n, int h, int w, int c) { out(n, h, w, c) += b[c]; });
    out.write(y);
  }

 private:
  static Array scaled(const Array& x, const Array& factors) {
    Array y(x.shape());
    for_each(x.shape(), [&](int n, int h, int w, int c) {
      y(n, h, w, c) = x(n, h, w, c) * factors(n, 0, 0, c);
    });
    return y;
  }
};

}  // namespace

std::unique_ptr<ChannelOps> make_channel_ops() { return std::make_unique<ReferenceChannelOps>(); }

}  // namespace macadam::reference
