#include <algorithm>
#include <cmath>

#include "kernels/reference/array.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

/// Calls f(ih, iw, position) for the pixels of output (oh, ow)'s window that lie in the image.
template <typename F>
void for_each_in_window(const PoolDesc& d, Shape input, int oh, int ow, F&& f) {
  for (int kh = 0; kh < d.kernel_h; ++kh)
    for (int kw = 0; kw < d.kernel_w; ++kw) {
      const int ih = oh * d.stride_h - d.padding.top + kh;
      const int iw = ow * d.stride_w - d.padding.left + kw;
      if (ih >= 0 && ih < input.h && iw >= 0 && iw < input.w) f(ih, iw, kh * d.kernel_w + kw);
    }
}

/// Calls f(ih, iw, share) for the pixels of window (oh, ow) of a grid.
template <typename F>
void for_each_in_cell(const PoolDesc& d, Shape input, int oh, int ow, F&& f) {
  const auto first = [](int o, int grid, int in) { return std::floor(1.0 * o * in / grid); };
  const auto end = [](int o, int grid, int in) { return std::ceil((o + 1.0) * in / grid); };
  const auto top = static_cast<int>(first(oh, d.grid_h, input.h));
  const auto left = static_cast<int>(first(ow, d.grid_w, input.w));
  const auto bottom = static_cast<int>(end(oh, d.grid_h, input.h));
  const auto right = static_cast<int>(end(ow, d.grid_w, input.w));
  for (int ih = top; ih < bottom; ++ih)
    for (int iw = left; iw < right; ++iw) f(ih, iw, 1.0 / ((bottom - top) * (right - left)));
}

/// The divisor of output (oh, ow)'s average.
int counted_pixels(const PoolDesc& d, Shape input, int oh, int ow) {
  int count = 0;
  if (!d.count_padding) {
    for_each_in_window(d, input, oh, ow, [&](int, int, int) { ++count; });
    return count;
  }
  // The padded image as an image of its own, which has no padding.
  PoolDesc bare = d;
  bare.padding = {};
  input.h += d.padding.top + d.padding.bottom;
  input.w += d.padding.left + d.padding.right;
  for_each_in_window(bare, input, oh, ow, [&](int, int, int) { ++count; });
  return count;
}

class ReferencePoolOps : public PoolOps {
 public:
  void max(const PoolDesc& desc, const Tensor& x, const Tensor& y, const Tensor& index) override {
    const Array in(x);
    Array out(y.shape), chosen(y.shape);
    for_each(y.shape, [&](int n, int h, int w, int c) {
      double best = 0;
      int position_of_best = -1;
      for_each_in_window(desc, x.shape, h, w, [&](int ih, int iw, int position) {
        const double value = in(n, ih, iw, c);
        const bool first_nan = std::isnan(value) && !std::isnan(best);
        if (position_of_best >= 0 && !(value > best) && !first_nan) return;
        best = value;
        position_of_best = position;
      });
      require(position_of_best >= 0, "every pooling window meets the image");
      out(n, h, w, c) = best;
      chosen(n, h, w, c) = position_of_best;
    });
    out.write(y);
    if (index.data) chosen.write(index);
  }

  void max_backward(const PoolDesc& desc, const Tensor& dy, const Tensor& index, const Tensor& dx,
                    bool accumulate) override {
    const Array d_out(dy), chosen(index);
    Array d_in(dx.shape);
    for_each(dy.shape, [&](int n, int h, int w, int c) {
      for_each_in_window(desc, dx.shape, h, w, [&](int ih, int iw, int position) {
        if (chosen(n, h, w, c) == position) d_in(n, ih, iw, c) += d_out(n, h, w, c);
      });
    });
    d_in.write(dx, accumulate);
  }

  void average(const PoolDesc& desc, const Tensor& x, const Tensor& y) override {
    const Array in(x);
    Array out(y.shape);
    for_each(y.shape, [&](int n, int h, int w, int c) {
      if (desc.is_grid()) {
        for_each_in_cell(desc, x.shape, h, w, [&](int ih, int iw, double share) {
          out(n, h, w, c) += in(n, ih, iw, c) * share;
        });
        return;
      }
      const int count = counted_pixels(desc, x.shape, h, w);
      for_each_in_window(desc, x.shape, h, w,
                         [&](int ih, int iw, int) { out(n, h, w, c) += in(n, ih, iw, c) / count; });
    });
    out.write(y);
  }

  void average_backward(const PoolDesc& desc, const Tensor& dy, const Tensor& dx,
                        bool accumulate) override {
    const Array d_out(dy);
    Array d_in(dx.shape);
    for_each(dy.shape, [&](int n, int h, int w, int c) {
      if (desc.is_grid()) {
        for_each_in_cell(desc, dx.shape, h, w, [&](int ih, int iw, double share) {
          d_in(n, ih, iw, c) += d_out(n, h, w, c) * share;
        });
        return;
      }
      const int count = counted_pixels(desc, dx.shape, h, w);
      for_each_in_window(desc, dx.shape, h, w, [&](int ih, int iw, int) {
        d_in(n, ih, iw, c) += d_out(n, h, w, c) / count;
      });
    });
    d_in.write(dx, accumulate);
  }
};

}  // namespace

std::unique_ptr<PoolOps> make_pool_ops() { return std::make_unique<ReferencePoolOps>(); }

}  // namespace macadam::reference
