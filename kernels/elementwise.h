#pragma once
// Copy (which is concat, slice and cast), add, scale, fill and products. Tensors of a call share
// one shape, where nothing else is said, and may be channel slices; dtypes may differ, except that
// u8 only copies to u8.

#include <cstdint>
#include <span>

#include "kernels/tensor.h"

namespace macadam {

/// A dense tensor in another dtype; the transpose of a matrix {from.shape.n, the rest} if
/// `transposed`.
struct Cast {
  Tensor from, to;
  bool transposed = false;
};

/// One of the casts of cast_all(): `count` elements, both addresses 16-byte aligned.
struct CastSegment {
  static constexpr int kVector = 8;  // elements that are cast at once

  const void* from = nullptr;
  void* to = nullptr;
  int64_t count = 0;
  int64_t first = 0;  // vectors of all segments before this one
  int64_t rows = 1;   // of `from`, where it is a matrix of which `to` is the transpose

  /// Vectors of this segment; the last may be cut short.
  constexpr int64_t vectors() const { return (count + kVector - 1) / kVector; }
};

class ElementwiseOps {
 public:
  virtual ~ElementwiseOps() = default;

  /// y = x, rounded to y's dtype. Concatenation and slicing along channels are copies between
  /// Tensor::channels views. Added to y if `accumulate` (floating point only).
  virtual void copy(const Tensor& x, const Tensor& y, bool accumulate) = 0;
  /// Casts `from` to `to`, floating-point dtypes of which one or both are fp32, all at once.
  /// `segments` lie in device memory; their `first` ascend from 0, and `vectors` is the sum of
  /// their vectors().
  virtual void cast_all(std::span<const CastSegment> segments, DType from, DType to,
                        int64_t vectors) = 0;
  /// y = a + factor * b; with `relu`, the greater of that and 0. y may be the same view as a or b.
  virtual void add(const Tensor& a, const Tensor& b, float factor, const Tensor& y, bool relu) = 0;
  /// y = factor * x, added to y if `accumulate`; floating point only. y may be the same view as x.
  virtual void scale(const Tensor& x, float factor, const Tensor& y, bool accumulate) = 0;
  /// y = value.
  virtual void fill(const Tensor& y, float value) = 0;
  /// y = a * b, added to y if `accumulate`. b may have one channel, which is then a factor of all
  /// of a's. One floating-point dtype. y may be the same view as a.
  virtual void multiply(const Tensor& a, const Tensor& b, const Tensor& y, bool accumulate) = 0;
  /// y, of one channel, = the sum over the channels of a * b in fp32, added to y if `accumulate`.
  /// One floating-point dtype.
  virtual void dot(const Tensor& a, const Tensor& b, const Tensor& y, bool accumulate) = 0;
};

/// Requires what multiply() does; whether b has one channel for all of a's.
bool check_multiply(const Tensor& a, const Tensor& b, const Tensor& y);
/// Requires what dot() does.
void check_dot(const Tensor& a, const Tensor& b, const Tensor& y);

}  // namespace macadam
