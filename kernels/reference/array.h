#pragma once
// A dense copy of a tensor in double: what every reference op computes on. Reading copies the
// whole tensor and writing rounds the whole result once, so that channel slices, in-place calls
// and dtypes need no thought anywhere else.

#include <span>
#include <vector>

#include "base/to_size.h"
#include "kernels/tensor.h"

namespace macadam::reference {

class Array {
 public:
  /// Zeros.
  explicit Array(Shape shape) : shape_(shape), values_(to_size(shape.elements()), 0.0) {}
  /// The values of a tensor of any dtype.
  explicit Array(const Tensor& tensor);

  const Shape& shape() const { return shape_; }
  std::span<double> values() { return values_; }
  std::span<const double> values() const { return values_; }

  double& operator()(int n, int h, int w, int c) { return values_[index(n, h, w, c)]; }
  double operator()(int n, int h, int w, int c) const { return values_[index(n, h, w, c)]; }
  /// Element c of a vector {1,1,1,C}.
  double& operator[](int c) { return values_[to_size(c)]; }
  double operator[](int c) const { return values_[to_size(c)]; }

  /// Rounds into `tensor` (same shape); with `accumulate`, adds to what it holds first.
  void write(const Tensor& tensor, bool accumulate = false) const;

 private:
  size_t index(int n, int h, int w, int c) const {
    return to_size(((static_cast<int64_t>(n) * shape_.h + h) * shape_.w + w) * shape_.c + c);
  }

  Shape shape_;
  std::vector<double> values_;
};

/// round(255 * the softmax probability of the largest of the scores); 0 where all are NaN.
int confidence_of(std::span<const double> scores);

/// Calls f(n, h, w, c) for every element, in memory order.
template <typename F>
void for_each(Shape shape, F&& f) {
  for (int n = 0; n < shape.n; ++n)
    for (int h = 0; h < shape.h; ++h)
      for (int w = 0; w < shape.w; ++w)
        for (int c = 0; c < shape.c; ++c) f(n, h, w, c);
}

}  // namespace macadam::reference
