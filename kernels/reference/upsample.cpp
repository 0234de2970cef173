#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/to_size.h"
#include "kernels/reference/array.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

int nearest_source(int i, int in, int out) {
  return static_cast<int>(static_cast<int64_t>(i) * in / out);
}

/// The two source pixels of output i along one dimension, and their weights.
struct Taps {
  int position[2];
  double weight[2];
};

Taps bilinear_taps(int i, int in, int out, bool corners) {
  const double between = out > 1 ? i * (in - 1.0) / (out - 1) : 0;
  const double source = corners ? between : std::clamp((i + 0.5) * in / out - 0.5, 0.0, in - 1.0);
  const int low = static_cast<int>(std::floor(source));
  const int high = std::min(low + 1, in - 1);
  return {{low, high}, {1 - (source - low), source - low}};
}

/// Calls f(ih, iw, weight) for the four source pixels of output (oh, ow).
template <typename F>
void for_each_bilinear_tap(Shape in, Shape out, bool corners, int oh, int ow, F&& f) {
  const Taps rows = bilinear_taps(oh, in.h, out.h, corners);
  const Taps columns = bilinear_taps(ow, in.w, out.w, corners);
  for (int r = 0; r < 2; ++r)
    for (int s = 0; s < 2; ++s)
      f(rows.position[r], columns.position[s], rows.weight[r] * columns.weight[s]);
}

class ReferenceUpsampleOps : public UpsampleOps {
 public:
  void nearest(const Tensor& x, const Tensor& y) override {
    const Array in(x);
    Array out(y.shape);
    for_each(y.shape, [&](int n, int h, int w, int c) {
      out(n, h, w, c) = in(n, nearest_source(h, x.shape.h, y.shape.h),
                           nearest_source(w, x.shape.w, y.shape.w), c);
    });
    out.write(y);
  }

  void nearest_backward(const Tensor& dy, const Tensor& dx, bool accumulate) override {
    const Array d_out(dy);
    Array d_in(dx.shape);
    for_each(dy.shape, [&](int n, int h, int w, int c) {
      d_in(n, nearest_source(h, dx.shape.h, dy.shape.h), nearest_source(w, dx.shape.w, dy.shape.w),
           c) += d_out(n, h, w, c);
    });
    d_in.write(dx, accumulate);
  }

  void bilinear(const Tensor& x, const Tensor& y, bool corners) override {
    const Array in(x);
    Array out(y.shape);
    for_each(y.shape, [&](int n, int h, int w, int c) {
      for_each_bilinear_tap(x.shape, y.shape, corners, h, w, [&](int ih, int iw, double weight) {
        out(n, h, w, c) += weight * in(n, ih, iw, c);
      });
    });
    out.write(y);
  }

  void bilinear_argmax(const Tensor& x, const Tensor& classes, const Tensor& confidence) override {
    const Array in(x);
    const Shape size{classes.shape.n, classes.shape.h, classes.shape.w, x.shape.c};
    Array out(classes.shape), sure(classes.shape);
    std::vector<double> scores(to_size(size.c));
    for_each(classes.shape, [&](int n, int h, int w, int) {
      double best = -std::numeric_limits<double>::infinity();
      for (int c = 0; c < size.c; ++c) {
        double score = 0;
        for_each_bilinear_tap(x.shape, size, false, h, w, [&](int ih, int iw, double weight) {
          score += weight * in(n, ih, iw, c);
        });
        if (score > best) {  // false for NaN
          best = score;
          out(n, h, w, 0) = c;
        }
        scores[to_size(c)] = score;
      }
      sure(n, h, w, 0) = confidence_of(scores);
    });
    out.write(classes);
    if (confidence.data != nullptr) sure.write(confidence);
  }

  void bilinear_add_softmax(const Tensor& x, const WindowPlace& place,
                            const Tensor& sums) override {
    const Array in(x);
    Array out(sums);
    const Shape window{1, place.height, place.width, x.shape.c};
    std::vector<double> scores(to_size(window.c));
    for (int h = 0; h < std::min(window.h, sums.shape.h - place.top); ++h)
      for (int w = 0; w < std::min(window.w, sums.shape.w - place.left); ++w) {
        std::fill(scores.begin(), scores.end(), 0.0);
        for_each_bilinear_tap(x.shape, window, false, h, place.mirrored ? window.w - 1 - w : w,
                              [&](int ih, int iw, double weight) {
                                for (int c = 0; c < window.c; ++c)
                                  scores[to_size(c)] += weight * in(0, ih, iw, c);
                              });
        const double top = *std::max_element(scores.begin(), scores.end());
        double total = 0;
        for (const double score : scores) total += std::exp(score - top);
        const int weight =
            place.fades ? std::min(h + 1, window.h - h) * std::min(w + 1, window.w - w) : 1;
        for (int c = 0; c < window.c; ++c)
          out(0, place.top + h, place.left + w, c) +=
              weight * std::exp(scores[to_size(c)] - top) / total;
      }
    out.write(sums);
  }

  void bilinear_backward(const Tensor& dy, const Tensor& dx, bool corners,
                         bool accumulate) override {
    const Array d_out(dy);
    Array d_in(dx.shape);
    for_each(dy.shape, [&](int n, int h, int w, int c) {
      for_each_bilinear_tap(dx.shape, dy.shape, corners, h, w, [&](int ih, int iw, double weight) {
        d_in(n, ih, iw, c) += weight * d_out(n, h, w, c);
      });
    });
    d_in.write(dx, accumulate);
  }
};

}  // namespace

std::unique_ptr<UpsampleOps> make_upsample_ops() {
  return std::make_unique<ReferenceUpsampleOps>();
}

}  // namespace macadam::reference
