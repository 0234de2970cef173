#pragma once
// The residual addition behind a batch norm: runs of pixels, a block of their channels.

#include <algorithm>
#include <cstdint>

#include "base/to_size.h"
#include "kernels/cpu/parallel.h"
#include "kernels/norm.h"
#include "kernels/scalar/activation.h"
#include "kernels/scalar/dropout.h"
#include "kernels/scalar/half.h"
#include "kernels/scalar/normalize.h"

namespace macadam::cpu {

/// Calls body(first pixel, pixels, factor) for each sample's part of the pixels [begin, end):
/// stochastic depth multiplies it by `factor`, which is 1 where there is none.
template <typename Body>
void by_sample(const Dropout& drop, const Shape& shape, int64_t begin, int64_t end,
               const Body& body) {
  if (drop.p == 0) {
    body(begin, end - begin, 1.0f);
    return;
  }
  const int64_t pixels = int64_t{shape.h} * shape.w;
  while (begin < end) {
    const int64_t sample = begin / pixels, stop = std::min(end, (sample + 1) * pixels);
    const bool keeps = scalar::dropout_keeps(drop.seed, drop.state->step, drop.layer,
                                             static_cast<uint32_t>(sample), drop.threshold());
    body(begin, stop - begin, keeps ? drop.scale() : 0.0f);
    begin = stop;
  }
}

/// y = activation(factor * (scale * x + shift) + skip) of one pixel.
template <typename T, typename F>
void add_pixel(F activation, const T* x, const T* skip, T* y, const float* scale,
               const float* shift, float factor, int channels) {
#pragma omp simd
  for (int c = 0; c < channels; ++c) {
    const float normal = scalar::Affine{scale[c], shift[c]}(scalar::to_float(x[c]));
    y[c] = scalar::from_float<T>(activation(normal * factor + scalar::to_float(skip[c])));
  }
}

/// The gradient of the sum, and where it is taken from: it lies in dskip when that was written.
class SumGradient {
 public:
  SumGradient(const BatchNormDesc& desc, const Tensor& dy, const SkipGradient& skip)
      : dy_(dy),
        skip_(skip),
        masks_(desc.backward_reads_output()),
        writes_(skip.dskip.data != nullptr && (masks_ || skip.dskip.data != dy.data)) {}

  /// The same, behind write(): as it was stored, where it was.
  SumGradient stored() const {
    SumGradient later = *this;
    if (writes_ && !skip_.accumulate) {
      later.dy_ = skip_.dskip;
      later.masks_ = false;
    }
    return later;
  }

  /// g = that of a pixel's channels from the first one on, in the dtype T.
  template <typename T>
  void read(int64_t pixel, int first, int channels, float* g) const {
    const T* dy = at<const T>(dy_, pixel) + first;
    if (!masks_) {
#pragma omp simd
      for (int c = 0; c < channels; ++c) g[c] = scalar::to_float(dy[c]);
      return;
    }
    const T* y = at<const T>(skip_.y, pixel) + first;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      g[c] = scalar::Relu{}.gradient(scalar::to_float(y[c]), scalar::to_float(dy[c]));
    }
  }

  /// Hands it on to what was added.
  template <typename T>
  void write(int64_t pixel, int first, int channels, const float* g) const {
    if (!writes_) return;
    T* dskip = at<T>(skip_.dskip, pixel) + first;
    if (skip_.accumulate) {
#pragma omp simd
      for (int c = 0; c < channels; ++c) {
        dskip[c] = scalar::from_float<T>(scalar::to_float(dskip[c]) + g[c]);
      }
      return;
    }
#pragma omp simd
    for (int c = 0; c < channels; ++c) dskip[c] = scalar::from_float<T>(g[c]);
  }

 private:
  Tensor dy_;
  SkipGradient skip_;
  bool masks_, writes_;
};

}  // namespace macadam::cpu
