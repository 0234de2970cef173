// Nearest and bilinear resizing on the CPU.

#include <algorithm>
#include <array>
#include <memory>

#include "kernels/cpu/argmax.h"
#include "kernels/cpu/copy_pixels.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scalar/exp_log.h"
#include "kernels/scalar/resize.h"
#include "kernels/scalar/window.h"

namespace macadam::cpu {

namespace {

using scalar::from_float;
using scalar::LinearAxis;
using scalar::LinearTap;
using scalar::Range;
using scalar::to_float;

/// Channels whose running sums lie on the stack together.
constexpr int kChannelBlock = 128;

int64_t pixel_at(const Shape& s, int n, int h, int w) { return (int64_t{n} * s.h + h) * s.w + w; }

/// Copies whole pixels, whatever they hold: `copy` moves one. Each input row makes the output rows
/// that read it while it is in the cache.
template <typename Copy>
void nearest_copy(const Tensor& x, const Tensor& y, const Copy& copy) {
  const Shape &in = x.shape, &out = y.shape;
  const auto element = static_cast<int64_t>(size_of(x.dtype));
  const int64_t x_step = x.pixel_stride * element, y_step = y.pixel_stride * element;
  const auto* from = static_cast<const std::byte*>(x.data);
  auto* to = static_cast<std::byte*>(y.data);
  parallel_items(int64_t{in.n} * in.h, out.elements() / (int64_t{in.n} * in.h), [&](int64_t row) {
    const int n = static_cast<int>(row / in.h), h = static_cast<int>(row % in.h);
    const Range rows = scalar::nearest_readers(h, in.h, out.h);
    for (int oh = rows.begin; oh < rows.end; ++oh) {
      const std::byte* source = from + row * in.w * x_step;
      std::byte* target = to + pixel_at(out, n, oh, 0) * y_step;
      for (int w = 0, ow = 0; w < in.w; ++w, source += x_step) {
        const int end = scalar::nearest_readers(w, in.w, out.w).end;
        for (; ow < end; ++ow, target += y_step) copy(target, source);
      }
    }
    stream_fence();
  });
}

template <bool Accumulate, typename T>
void put_block(const float* gradient, T* dx, int n) {
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    dx[i] = from_float<T>(Accumulate ? to_float(dx[i]) + gradient[i] : gradient[i]);
  }
}

/// dx of one pixel that four outputs copied.
template <bool Accumulate, typename T>
void sum_of_four(const T* a, const T* b, const T* c, const T* d, T* dx, int n) {
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    const float sum = ((to_float(a[i]) + to_float(b[i])) + to_float(c[i])) + to_float(d[i]);
    dx[i] = from_float<T>(Accumulate ? to_float(dx[i]) + sum : sum);
  }
}

template <bool Accumulate, typename T>
void nearest_gather(const Tensor& dy, const Tensor& dx) {
  const Shape &in = dx.shape, &out = dy.shape;
  const bool doubled = out.h == 2 * in.h && out.w == 2 * in.w;
  const int64_t step = dy.pixel_stride, row_step = step * out.w;
  parallel_items(int64_t{in.n} * in.h, out.elements() / (int64_t{in.n} * in.h), [&](int64_t row) {
    const int n = static_cast<int>(row / in.h), h = static_cast<int>(row % in.h);
    const Range rows = scalar::nearest_readers(h, in.h, out.h);
    const T* const readers = at<const T>(dy, pixel_at(out, n, rows.begin, 0));
    for (int w = 0; w < in.w; ++w) {
      T* to = at<T>(dx, row * in.w + w);
      if (doubled) {
        const T* from = readers + 2 * w * step;
        sum_of_four<Accumulate>(from, from + step, from + row_step, from + row_step + step, to,
                                in.c);
        continue;
      }
      const Range columns = scalar::nearest_readers(w, in.w, out.w);
      for (int channel = 0; channel < in.c; channel += kChannelBlock) {
        const int block = std::min(kChannelBlock, in.c - channel);
        alignas(64) std::array<float, kChannelBlock> sums{};
        float* const sum = sums.data();
        for (int oh = rows.begin; oh < rows.end; ++oh) {
          for (int ow = columns.begin; ow < columns.end; ++ow) {
            const T* from = readers + (oh - rows.begin) * row_step + ow * step + channel;
#pragma omp simd
            for (int i = 0; i < block; ++i) sum[i] += to_float(from[i]);
          }
        }
        put_block<Accumulate>(sum, to + channel, block);
      }
    }
  });
}

template <typename X, typename Y>
void blend_four(const X* a0, const X* a1, const X* b0, const X* b1, float weight_x, float weight_y,
                Y* y, int n) {
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    y[i] = from_float<Y>(scalar::bilinear(to_float(a0[i]), to_float(a1[i]), to_float(b0[i]),
                                          to_float(b1[i]), weight_x, weight_y));
  }
}

/// One output row, pixel by pixel: good for many channels.
template <typename X, typename Y>
void bilinear_row_wide(const Tensor& x, const Tensor& y, const LinearAxis& axis,
                       int64_t upper_pixel, int64_t lower_pixel, float weight_y,
                       int64_t out_pixel) {
  const X *upper = at<const X>(x, upper_pixel), *lower = at<const X>(x, lower_pixel);
  Y* to = at<Y>(y, out_pixel);
  for (int ow = 0; ow < y.shape.w; ++ow, to += y.pixel_stride) {
    const LinearTap tap = scalar::linear_tap(ow, axis);
    const int64_t left = tap.first * x.pixel_stride, right = tap.second * x.pixel_stride;
    blend_four(upper + left, upper + right, lower + left, lower + right, tap.weight, weight_y, to,
               y.shape.c);
  }
}

/// Floats of a piece of a row on the stack.
constexpr int kPiece = 4096;
/// Vectors of a piece may reach this far beyond its last pixel.
constexpr int kLanes = 16;
struct Piece {
  alignas(64) float values[kPiece + kLanes];
};

/// Calls body(elements of the first pixel, offset, elements) for the runs of `pixels` pixels of n
/// channels: one run where they follow each other, else one a pixel.
template <typename Body>
void for_runs(int64_t stride, int pixels, int n, const Body& body) {
  if (stride == n) return body(int64_t{0}, 0, pixels * n);
  for (int p = 0; p < pixels; ++p) body(p * stride, p * n, n);
}

/// to = (1 - weight) * a + weight * b for n channels, in whole vectors: what is written beyond the
/// pixel belongs to the next one and is overwritten with it.
void blend_pixel(const float* a, const float* b, float weight, float* to, int n) {
  for (int i = 0; i < n; i += kLanes) {
#pragma omp simd
    for (int l = 0; l < kLanes; ++l) to[i + l] = (1.0f - weight) * a[i + l] + weight * b[i + l];
  }
}

/// One output row of few channels: first between the two input rows, where pixels and channels
/// are one long run, then between neighbouring pixels. sink(first column, columns, values) gets the
/// row in pieces.
template <typename X, typename Sink>
void bilinear_pieces(const Tensor& x, const LinearAxis& axis, int64_t upper_pixel,
                     int64_t lower_pixel, float weight_y, const Sink& sink) {
  const int n = x.shape.c, in_w = axis.in, out_w = axis.out;
  // Neither the columns of a piece nor the pixels that their taps span exceed its memory.
  const int most = kPiece / n - 3;
  const int columns = in_w <= out_w ? most : std::max(1, most * out_w / in_w);
  Piece blended, result;
  for (int begin = 0; begin < out_w; begin += columns) {
    const int end = std::min(out_w, begin + columns);
    const int first = scalar::linear_tap(begin, axis).first;
    const int pixels = scalar::linear_tap(end - 1, axis).second + 1 - first;
    std::fill_n(blended.values + pixels * n, kLanes, 0.0f);
    const X* const upper = at<const X>(x, upper_pixel + first);
    const X* const lower = at<const X>(x, lower_pixel + first);
    for_runs(x.pixel_stride, pixels, n, [&](int64_t from, int to, int count) {
      const X *a = upper + from, *b = lower + from;
      float* v = blended.values + to;
#pragma omp simd
      for (int i = 0; i < count; ++i) {
        v[i] = (1.0f - weight_y) * to_float(a[i]) + weight_y * to_float(b[i]);
      }
    });
    for (int ow = begin; ow < end; ++ow) {
      const LinearTap tap = scalar::linear_tap(ow, axis);
      blend_pixel(blended.values + (tap.first - first) * n,
                  blended.values + (tap.second - first) * n, tap.weight,
                  result.values + (ow - begin) * n, n);
    }
    sink(begin, end - begin, result.values);
  }
}

template <typename X, typename Y>
void bilinear_row_narrow(const Tensor& x, const Tensor& y, const LinearAxis& axis,
                         int64_t upper_pixel, int64_t lower_pixel, float weight_y,
                         int64_t out_pixel) {
  const auto store = [&](int first, int columns, const float* values) {
    for_runs(y.pixel_stride, columns, y.shape.c, [&](int64_t to, int from, int count) {
      const float* v = values + from;
      Y* out = at<Y>(y, out_pixel + first) + to;
#pragma omp simd
      for (int i = 0; i < count; ++i) out[i] = from_float<Y>(v[i]);
    });
  };
  bilinear_pieces<X>(x, axis, upper_pixel, lower_pixel, weight_y, store);
}

template <typename X, typename Y>
void bilinear_blend(const Tensor& x, const Tensor& y, bool corners) {
  const Shape &in = x.shape, &out = y.shape;
  const LinearAxis rows{in.h, out.h, corners}, columns{in.w, out.w, corners};
  const bool narrow = out.c < 64 && out.w >= in.w;
  const auto run = narrow ? bilinear_row_narrow<X, Y> : bilinear_row_wide<X, Y>;
  parallel_items(int64_t{out.n} * out.h, int64_t{out.w} * out.c, [&](int64_t row) {
    const int n = static_cast<int>(row / out.h), oh = static_cast<int>(row % out.h);
    const LinearTap tap = scalar::linear_tap(oh, rows);
    run(x, y, columns, pixel_at(in, n, tap.first, 0), pixel_at(in, n, tap.second, 0), tap.weight,
        row * out.w);
  });
}

template <typename X>
void bilinear_classes(const Tensor& x, const Tensor& classes, uint8_t* confidence) {
  const Shape &in = x.shape, &out = classes.shape;
  parallel_items(int64_t{out.n} * out.h, int64_t{out.w} * in.c, [&](int64_t row) {
    const int n = static_cast<int>(row / out.h), oh = static_cast<int>(row % out.h);
    const LinearTap tap = scalar::linear_tap(oh, LinearAxis{in.h, out.h});
    uint8_t* const result = classes.as<uint8_t>() + row * out.w;
    uint8_t* const sure = confidence == nullptr ? nullptr : confidence + row * out.w;
    const auto choose = [&](int first, int columns, const float* values) {
      for (int p = 0; p < columns; p += kBlockPixels) {
        const int pixels = std::min(kBlockPixels, columns - p);
        argmax_block(values + p * in.c, in.c, pixels, in.c, result + first + p,
                     sure == nullptr ? nullptr : sure + first + p);
      }
    };
    bilinear_pieces<X>(x, LinearAxis{in.w, out.w}, pixel_at(in, n, tap.first, 0),
                       pixel_at(in, n, tap.second, 0), tap.weight, choose);
  });
}

/// Scores of up to kBlockPixels pixels that follow each other to class-major probabilities, times
/// the pixels' weights.
void weighted_softmax(const float* scores, int pixels, int classes, const ClassRow& weights,
                      ClassRow* rows) {
  alignas(64) ClassRow max, sum{};
  to_class_major(scores, classes, pixels, classes, rows);
  std::copy_n(rows[0], kBlockPixels, max);
  for (int c = 1; c < classes; ++c) {
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) max[p] = rows[c][p] > max[p] ? rows[c][p] : max[p];
  }
  for (int c = 0; c < classes; ++c) {
    float* const row = rows[c];
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) {
      row[p] = scalar::exp_inline(row[p] - max[p]);
      sum[p] += row[p];
    }
  }
#pragma omp simd
  for (int p = 0; p < kBlockPixels; ++p) sum[p] = weights[p] / sum[p];
  for (int c = 0; c < classes; ++c) {
#pragma omp simd
    for (int p = 0; p < kBlockPixels; ++p) rows[c][p] *= sum[p];
  }
}

template <typename X>
void bilinear_sum(const Tensor& x, const WindowPlace& place, const Tensor& sums) {
  const Shape &in = x.shape, &out = sums.shape;
  const int classes = in.c, step = place.mirrored ? -classes : classes;
  const int rows = std::min(place.height, out.h - place.top);
  const int visible = std::min(place.width, out.w - place.left);  // columns
  parallel_items(rows, int64_t{place.width} * classes, [&](int64_t row) {
    const auto h = static_cast<int>(row);
    const LinearTap tap = scalar::linear_tap(h, LinearAxis{in.h, place.height});
    const float row_weight = place.fades ? scalar::edge_weight(h, place.height) : 1.0f;
    float* const target = at<float>(sums, pixel_at(out, 0, place.top + h, place.left));
    const auto add = [&](int first, int columns, const float* values) {
      alignas(64) ClassRow weighted[kMaxClasses];
      alignas(64) ClassRow weights;
      for (int begin = 0; begin < columns; begin += kBlockPixels) {
        const int pixels = std::min(kBlockPixels, columns - begin), column = first + begin;
        for (int p = 0; p < kBlockPixels; ++p) {
          const float weight = place.fades ? scalar::edge_weight(column + p, place.width) : 1.0f;
          weights[p] = row_weight * weight;
        }
        weighted_softmax(values + begin * classes, pixels, classes, weights, weighted);
        // Only some of a window's columns may lie in the photo, and from either side.
        const int from = place.mirrored ? std::max(0, place.width - visible - column) : 0;
        const int to = place.mirrored ? pixels : std::min(pixels, visible - column);
        const int where = place.mirrored ? place.width - 1 - column : column;
        for (int p = from; p < to; ++p) {
          float* const sum = target + where * classes + p * step;
          for (int c = 0; c < classes; ++c) sum[c] += weighted[c][p];
        }
      }
    };
    bilinear_pieces<X>(x, LinearAxis{in.w, place.width}, pixel_at(in, 0, tap.first, 0),
                       pixel_at(in, 0, tap.second, 0), tap.weight, add);
  });
}

/// to += weight * from for n channels, in whole vectors: what is added beyond the pixel is never
/// used.
void add_pixel(const float* from, float weight, float* to, int n) {
  for (int i = 0; i < n; i += kLanes) {
#pragma omp simd
    for (int l = 0; l < kLanes; ++l) to[i + l] += weight * from[i + l];
  }
}

/// Where a gather is: one row of dx, and the rows of dy that read it.
struct GatherRow {
  int h;             // of the input
  int64_t dx_pixel;  // the row's first pixel
  int64_t dy_image;  // the image's first pixel
  int channel, n;    // the block of channels
  LinearAxis rows, columns;
};

/// dx of the pixels `inputs` of a row, all of whose readers lie in the columns `outputs`: first
/// summed over the output rows, where pixels and channels are one long run, then over the columns.
template <bool Accumulate, typename Y, typename X>
void bilinear_gather_piece(const Tensor& dy, const Tensor& dx, const GatherRow& row, Range inputs,
                           Range outputs) {
  const Shape& out = dy.shape;
  const int n = row.n, pixels = std::max(0, outputs.end - outputs.begin);
  const Range rows = scalar::linear_readers(row.h, row.rows);
  Piece sums;
  std::fill_n(sums.values, pixels * n + kLanes, 0.0f);
  for (int oh = rows.begin; oh < rows.end; ++oh) {
    const float weight = scalar::linear_weight(oh, row.h, row.rows);
    const int64_t first = row.dy_image + int64_t{oh} * out.w + outputs.begin;
    const Y* const source = at<const Y>(dy, first) + row.channel;
    for_runs(dy.pixel_stride, pixels, n, [&](int64_t from, int to, int count) {
      const Y* reader = source + from;
      float* sum = sums.values + to;
#pragma omp simd
      for (int i = 0; i < count; ++i) sum[i] += weight * to_float(reader[i]);
    });
  }
  for (int w = inputs.begin; w < inputs.end; ++w) {
    alignas(64) std::array<float, kChannelBlock + kLanes> total;
    std::fill_n(total.begin(), n + kLanes, 0.0f);
    const Range readers = scalar::linear_readers(w, row.columns);
    for (int ow = readers.begin; ow < readers.end; ++ow) {
      add_pixel(sums.values + (ow - outputs.begin) * n, scalar::linear_weight(ow, w, row.columns),
                total.data(), n);
    }
    put_block<Accumulate>(total.data(), at<X>(dx, row.dx_pixel + w) + row.channel, n);
  }
}

/// dx of one pixel with more readers than a piece holds.
template <bool Accumulate, typename Y, typename X>
void bilinear_gather_pixel(const Tensor& dy, const Tensor& dx, const GatherRow& row, int w) {
  const Shape& out = dy.shape;
  const Range rows = scalar::linear_readers(row.h, row.rows);
  const Range columns = scalar::linear_readers(w, row.columns);
  alignas(64) std::array<float, kChannelBlock> sums{};
  float* const sum = sums.data();
  for (int oh = rows.begin; oh < rows.end; ++oh) {
    const float weight_y = scalar::linear_weight(oh, row.h, row.rows);
    for (int ow = columns.begin; ow < columns.end; ++ow) {
      const float weight = weight_y * scalar::linear_weight(ow, w, row.columns);
      const Y* reader = at<const Y>(dy, row.dy_image + int64_t{oh} * out.w + ow) + row.channel;
#pragma omp simd
      for (int i = 0; i < row.n; ++i) sum[i] += weight * to_float(reader[i]);
    }
  }
  put_block<Accumulate>(sum, at<X>(dx, row.dx_pixel + w) + row.channel, row.n);
}

template <bool Accumulate, typename Y, typename X>
void bilinear_gather(const Tensor& dy, const Tensor& dx, bool corners) {
  const Shape &in = dx.shape, &out = dy.shape;
  const LinearAxis rows{in.h, out.h, corners}, columns{in.w, out.w, corners};
  parallel_items(int64_t{in.n} * in.h, out.elements() / (int64_t{in.n} * in.h), [&](int64_t row) {
    const int n = static_cast<int>(row / in.h), h = static_cast<int>(row % in.h);
    for (int channel = 0; channel < in.c; channel += kChannelBlock) {
      const GatherRow gather{.h = h,
                             .dx_pixel = row * in.w,
                             .dy_image = pixel_at(out, n, 0, 0),
                             .channel = channel,
                             .n = std::min(kChannelBlock, in.c - channel),
                             .rows = rows,
                             .columns = columns};
      const int capacity = kPiece / gather.n;
      for (int w = 0; w < in.w;) {
        // As many pixels as have all their readers in one piece.
        Range outputs = scalar::linear_readers(w, columns);
        if (outputs.end - outputs.begin > capacity) {
          bilinear_gather_pixel<Accumulate, Y, X>(dy, dx, gather, w++);
          continue;
        }
        int end = w + 1;
        for (; end < in.w; ++end) {
          const int last = scalar::linear_readers(end, columns).end;
          if (last - outputs.begin > capacity) break;
          outputs.end = std::max(outputs.end, last);
        }
        bilinear_gather_piece<Accumulate, Y, X>(dy, dx, gather, {w, end}, outputs);
        w = end;
      }
    }
  });
}

/// The integer formulas of scalar/resize.h hold for extents up to 32767.
void check(const Shape& in, const Shape& out) {
  require(in.n == out.n && in.c == out.c, "resize: images and channels are equal");
  require(std::max({in.h, in.w, out.h, out.w}) <= 32767, "resize: extents are at most 32767");
}

class CpuUpsampleOps final : public UpsampleOps {
 public:
  void nearest(const Tensor& x, const Tensor& y) override {
    check(x.shape, y.shape);
    require(x.dtype == y.dtype, "nearest: dtypes are equal");
    with_pixel_copier(y, [&](auto copy) { nearest_copy(x, y, copy); });
  }

  void nearest_backward(const Tensor& dy, const Tensor& dx, bool accumulate) override {
    check(dx.shape, dy.shape);
    require(dx.dtype == dy.dtype, "nearest backward: dtypes are equal");
    visit_cpu(dx.dtype, [&](auto type) {
      using T = decltype(type);
      accumulate ? nearest_gather<true, T>(dy, dx) : nearest_gather<false, T>(dy, dx);
    });
  }

  void bilinear(const Tensor& x, const Tensor& y, bool corners) override {
    check(x.shape, y.shape);
    visit_cpu(x.dtype, [&](auto from) {
      visit_cpu(y.dtype,
                [&](auto to) { bilinear_blend<decltype(from), decltype(to)>(x, y, corners); });
    });
  }

  void bilinear_argmax(const Tensor& x, const Tensor& classes, const Tensor& confidence) override {
    require(classes.shape.c == 1 && classes.dense(), "bilinear argmax: one class a pixel, dense");
    require(x.shape.c <= kMaxClasses, "bilinear argmax: at most 255 classes");
    check(x.shape, {classes.shape.n, classes.shape.h, classes.shape.w, x.shape.c});
    uint8_t* const sure = confidence.data == nullptr ? nullptr : confidence.as<uint8_t>();
    require(sure == nullptr || (confidence.shape == classes.shape && confidence.dense()),
            "bilinear argmax: confidence is as the classes");
    visit_cpu(x.dtype, [&](auto type) { bilinear_classes<decltype(type)>(x, classes, sure); });
  }

  void bilinear_add_softmax(const Tensor& x, const WindowPlace& place,
                            const Tensor& sums) override {
    require(x.shape.n == 1 && sums.shape.n == 1 && sums.dense(), "one window, dense sums");
    require(x.shape.c <= kMaxClasses, "bilinear softmax: at most 255 classes");
    require(place.top >= 0 && place.left >= 0, "a window begins in the photo");
    check(x.shape, {1, place.height, place.width, sums.shape.c});
    require(sums.dtype == DType::f32, "sums are fp32");
    visit_cpu(x.dtype, [&](auto type) { bilinear_sum<decltype(type)>(x, place, sums); });
  }

  void bilinear_backward(const Tensor& dy, const Tensor& dx, bool corners,
                         bool accumulate) override {
    check(dx.shape, dy.shape);
    visit_cpu(dy.dtype, [&](auto from) {
      visit_cpu(dx.dtype, [&](auto to) {
        using Y = decltype(from);
        using X = decltype(to);
        accumulate ? bilinear_gather<true, Y, X>(dy, dx, corners)
                   : bilinear_gather<false, Y, X>(dy, dx, corners);
      });
    });
  }
};

}  // namespace

std::unique_ptr<UpsampleOps> make_upsample_ops() { return std::make_unique<CpuUpsampleOps>(); }

}  // namespace macadam::cpu
