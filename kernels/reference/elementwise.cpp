#include <algorithm>

#include "kernels/reference/array.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

class ReferenceElementwiseOps : public ElementwiseOps {
 public:
  void copy(const Tensor& x, const Tensor& y, bool accumulate) override {
    Array(x).write(y, accumulate);
  }

  void cast_all(std::span<const CastSegment> segments, DType from, DType to, int64_t) override {
    for (const CastSegment& s : segments) {
      const Shape shape{1, 1, 1, static_cast<int>(s.count)};
      const Array in(Tensor(const_cast<void*>(s.from), shape, from));
      const auto rows = static_cast<int>(s.rows), columns = shape.c / rows;
      Array out(shape);
      for (int i = 0; i < shape.c; ++i) out[i % columns * rows + i / columns] = in[i];
      out.write(Tensor(s.to, shape, to));
    }
  }

  void add(const Tensor& a, const Tensor& b, float factor, const Tensor& y, bool relu) override {
    const Array left(a), right(b);
    Array sum(y.shape);
    for (size_t i = 0; i < sum.values().size(); ++i) {
      const double value = left.values()[i] + double{factor} * right.values()[i];
      sum.values()[i] = relu && value < 0 ? 0 : value;
    }
    sum.write(y);
  }

  void scale(const Tensor& x, float factor, const Tensor& y, bool accumulate) override {
    Array scaled(x);
    for (double& v : scaled.values()) v *= double{factor};
    scaled.write(y, accumulate);
  }

  void multiply(const Tensor& a, const Tensor& b, const Tensor& y, bool accumulate) override {
    const Array left(a), right(b);
    Array product(y.shape);
    for_each(y.shape, [&](int n, int h, int w, int c) {
      product(n, h, w, c) = left(n, h, w, c) * right(n, h, w, b.shape.c == 1 ? 0 : c);
    });
    product.write(y, accumulate);
  }

  void dot(const Tensor& a, const Tensor& b, const Tensor& y, bool accumulate) override {
    const Array left(a), right(b);
    Array sum(y.shape);
    for_each(a.shape, [&](int n, int h, int w, int c) {
      sum(n, h, w, 0) += left(n, h, w, c) * right(n, h, w, c);
    });
    sum.write(y, accumulate);
  }

  void fill(const Tensor& y, float value) override {
    Array out(y.shape);
    std::fill(out.values().begin(), out.values().end(), double{value});
    out.write(y);
  }
};

}  // namespace

std::unique_ptr<ElementwiseOps> make_elementwise_ops() {
  return std::make_unique<ReferenceElementwiseOps>();
}

}  // namespace macadam::reference
