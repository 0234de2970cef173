// Convolution by its definition. One loop nest visits every product of the sum; the three passes
// differ only in which of the three factors they accumulate.

#include <algorithm>
#include <cstring>

#include "base/to_size.h"
#include "kernels/reference/activation.h"
#include "kernels/reference/array.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

/// One product x(n, ih, iw, c) * w(k, kh, kw, wc) of the output y(n, oh, ow, k).
struct Tap {
  int n, oh, ow, k, kh, kw, ih, iw, c, wc;
};

template <typename F>
void for_each_tap(const ConvDesc& d, F&& f) {
  const Shape out = d.output();
  const int group_in = d.input.c / d.groups, group_out = d.out_channels / d.groups;
  for_each(out, [&](int n, int oh, int ow, int k) {
    for (int kh = 0; kh < d.kernel_h; ++kh)
      for (int kw = 0; kw < d.kernel_w; ++kw) {
        const int ih = oh * d.stride - d.padding.top + kh * d.dilation;
        const int iw = ow * d.stride - d.padding.left + kw * d.dilation;
        if (ih < 0 || ih >= d.input.h || iw < 0 || iw >= d.input.w) continue;
        for (int wc = 0; wc < group_in; ++wc)
          f(Tap{n, oh, ow, k, kh, kw, ih, iw, k / group_out * group_in + wc, wc});
      }
  });
}

class ReferenceConvolution : public Convolution {
 public:
  explicit ReferenceConvolution(const ConvDesc& desc) : desc_(desc) {}

  size_t workspace_bytes() const override { return 0; }
  size_t packed_bytes() const override {
    return to_size(desc_.weights().elements() + desc_.out_channels) * sizeof(double);
  }
  std::string implementation() const override { return "reference"; }

  /// The weights, rounded to the description's dtype, then the bias (0 without one), in double.
  void pack(const Tensor& weights, const Tensor& bias, void* packed) override {
    Array rounded(weights);
    if (desc_.dtype != DType::f32) {
      for (double& w : rounded.values()) w = round_to_dtype(w);
    }
    auto* out = static_cast<double*>(packed);
    out = std::copy(rounded.values().begin(), rounded.values().end(), out);
    const Array b = desc_.bias ? Array(bias) : Array(Shape{1, 1, 1, desc_.out_channels});
    std::copy(b.values().begin(), b.values().end(), out);
  }

  void forward(const Tensor& x, const void* packed, const Tensor& y, void*) override {
    const Array in(x), w = packed_weights(packed);
    const double* bias = static_cast<const double*>(packed) + w.values().size();
    Array out(desc_.output());
    for_each_tap(desc_, [&](const Tap& t) {
      out(t.n, t.oh, t.ow, t.k) += in(t.n, t.ih, t.iw, t.c) * w(t.k, t.kh, t.kw, t.wc);
    });
    for_each(out.shape(), [&](int n, int h, int v, int k) {
      double& value = out(n, h, v, k);
      value = activated(desc_.activation, value + bias[k]);
    });
    out.write(y);
  }

  void backward_data(const Tensor& dy, const void* packed, const Tensor& dx, void*) override {
    const Array d_out(dy), w = packed_weights(packed);
    Array d_in(desc_.input);
    for_each_tap(desc_, [&](const Tap& t) {
      d_in(t.n, t.ih, t.iw, t.c) += d_out(t.n, t.oh, t.ow, t.k) * w(t.k, t.kh, t.kw, t.wc);
    });
    d_in.write(dx);
  }

  void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw, void*) override {
    const Array in(x), d_out(dy);
    Array d_w(desc_.weights());
    for_each_tap(desc_, [&](const Tap& t) {
      d_w(t.k, t.kh, t.kw, t.wc) += d_out(t.n, t.oh, t.ow, t.k) * in(t.n, t.ih, t.iw, t.c);
    });
    d_w.write(dw);
  }

 private:
  double round_to_dtype(double value) const {
    return visit_float(desc_.dtype, [&](auto zero) -> double {
      return scalar::to_float(scalar::from_float<decltype(zero)>(static_cast<float>(value)));
    });
  }

  Array packed_weights(const void* packed) const {
    Array w(desc_.weights());
    std::memcpy(w.values().data(), packed, w.values().size_bytes());
    return w;
  }

  ConvDesc desc_;
};

class ReferenceConvOps : public ConvOps {
 public:
  std::unique_ptr<Convolution> make(const ConvDesc& desc) override {
    return std::make_unique<ReferenceConvolution>(desc);
  }
};

}  // namespace

std::unique_ptr<ConvOps> make_conv_ops() { return std::make_unique<ReferenceConvOps>(); }

}  // namespace macadam::reference
