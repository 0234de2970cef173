// Copy, add, scale, fill and products on the CPU.

#include <cstring>
#include <memory>

#include "base/to_size.h"
#include "kernels/cpu/copy_pixels.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scalar/activation.h"

namespace macadam::cpu {

namespace {

using scalar::from_float;
using scalar::to_float;

template <typename X, typename Y>
void convert_run(const X* x, Y* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = from_float<Y>(to_float(x[i]));
}

template <typename X, typename Y>
void accumulate_run(const X* x, Y* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = from_float<Y>(to_float(y[i]) + to_float(x[i]));
}

template <bool Relu, typename A, typename B, typename Y>
void add_run(const A* a, const B* b, float factor, Y* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float sum = to_float(a[i]) + factor * to_float(b[i]);
    y[i] = from_float<Y>(Relu ? scalar::relu(sum) : sum);
  }
}

template <bool Accumulate, typename X, typename Y>
void scale_run(const X* x, float factor, Y* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float scaled = factor * to_float(x[i]);
    y[i] = from_float<Y>(Accumulate ? to_float(y[i]) + scaled : scaled);
  }
}

template <bool Accumulate, typename T>
void multiply_run(const T* a, const T* b, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float product = to_float(a[i]) * to_float(b[i]);
    y[i] = from_float<T>(Accumulate ? to_float(y[i]) + product : product);
  }
}

template <typename T>
float dot_run(const T* a, const T* b, int n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < n; ++i) sum += to_float(a[i]) * to_float(b[i]);
  return sum;
}

/// Same dtype on both sides: bytes move.
void copy_bits(const Tensor& x, const Tensor& y) {
  const size_t element = size_of(x.dtype);
  const auto* from = static_cast<const std::byte*>(x.data);
  auto* to = static_cast<std::byte*>(y.data);
  if (x.dense() && y.dense()) {
    parallel_chunks(static_cast<int64_t>(x.bytes()), int64_t{1} << 20,
                    [&](int64_t, int64_t begin, int64_t end) {
                      std::memcpy(to + begin, from + begin, to_size(end - begin));
                    });
    return;
  }
  const auto x_step = x.pixel_stride * static_cast<int64_t>(element);
  const auto y_step = y.pixel_stride * static_cast<int64_t>(element);
  const int64_t chunk = std::max<int64_t>(1, kTaskElements / x.shape.c);
  with_pixel_copier(y, [&](auto copy) {
    parallel_chunks(x.shape.pixels(), chunk, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) copy(to + p * y_step, from + p * x_step);
      stream_fence();
    });
  });
}

class CpuElementwiseOps final : public ElementwiseOps {
 public:
  void copy(const Tensor& x, const Tensor& y, bool accumulate) override {
    require(x.shape == y.shape, "copy: shapes are equal");
    require((x.dtype == DType::u8) == (y.dtype == DType::u8), "copy: u8 goes to u8 only");
    require(!accumulate || x.dtype != DType::u8, "copy: only floating point accumulates");
    if (x.dtype == y.dtype && !accumulate) return copy_bits(x, y);
    const bool dense = x.dense() && y.dense();
    visit_cpu(x.dtype, [&](auto from) {
      visit_cpu(y.dtype, [&](auto to) {
        using X = decltype(from);
        using Y = decltype(to);
        parallel_runs(x.shape, dense, [&](int64_t pixel, int64_t n) {
          if (accumulate) {
            accumulate_run(at<const X>(x, pixel), at<Y>(y, pixel), n);
          } else {
            convert_run(at<const X>(x, pixel), at<Y>(y, pixel), n);
          }
        });
      });
    });
  }

  void cast_all(std::span<const CastSegment> segments, DType from, DType to, int64_t) override {
    visit_cpu(from, [&](auto source) {
      visit_cpu(to, [&](auto destination) {
        using X = decltype(source);
        using Y = decltype(destination);
        for (const CastSegment& s : segments) {
          if (s.rows > 1) {
            const int64_t columns = s.count / s.rows;
            for (int64_t row = 0; row < s.rows; ++row) {
              for (int64_t column = 0; column < columns; ++column) {
                convert_run(static_cast<const X*>(s.from) + row * columns + column,
                            static_cast<Y*>(s.to) + column * s.rows + row, 1);
              }
            }
            continue;
          }
          parallel_chunks(s.count, kTaskElements, [&](int64_t, int64_t begin, int64_t end) {
            convert_run(static_cast<const X*>(s.from) + begin, static_cast<Y*>(s.to) + begin,
                        end - begin);
          });
        }
      });
    });
  }

  void add(const Tensor& a, const Tensor& b, float factor, const Tensor& y, bool relu) override {
    require(a.shape == y.shape && b.shape == y.shape, "add: shapes are equal");
    const bool dense = a.dense() && b.dense() && y.dense();
    visit_cpu(a.dtype, [&](auto first) {
      visit_cpu(b.dtype, [&](auto second) {
        visit_cpu(y.dtype, [&](auto sum) {
          using A = decltype(first);
          using B = decltype(second);
          using Y = decltype(sum);
          parallel_runs(y.shape, dense, [&](int64_t pixel, int64_t n) {
            const auto run = relu ? add_run<true, A, B, Y> : add_run<false, A, B, Y>;
            run(at<const A>(a, pixel), at<const B>(b, pixel), factor, at<Y>(y, pixel), n);
          });
        });
      });
    });
  }

  void scale(const Tensor& x, float factor, const Tensor& y, bool accumulate) override {
    require(x.shape == y.shape, "scale: shapes are equal");
    const bool dense = x.dense() && y.dense();
    visit_cpu(x.dtype, [&](auto from) {
      visit_cpu(y.dtype, [&](auto to) {
        using X = decltype(from);
        using Y = decltype(to);
        const auto run = accumulate ? scale_run<true, X, Y> : scale_run<false, X, Y>;
        parallel_runs(y.shape, dense, [&](int64_t pixel, int64_t n) {
          run(at<const X>(x, pixel), factor, at<Y>(y, pixel), n);
        });
      });
    });
  }

  void fill(const Tensor& y, float value) override {
    if (y.dtype == DType::u8) return fill_with(y, static_cast<uint8_t>(value));
    visit_cpu(y.dtype, [&](auto type) { fill_with(y, from_float<decltype(type)>(value)); });
  }

  void multiply(const Tensor& a, const Tensor& b, const Tensor& y, bool accumulate) override {
    const bool factor = check_multiply(a, b, y);
    const bool dense = a.dense() && b.dense() && y.dense() && !factor;
    visit_cpu(y.dtype, [&](auto type) {
      using T = decltype(type);
      parallel_runs(y.shape, dense, [&](int64_t pixel, int64_t n) {
        const T* const from = at<const T>(a, pixel);
        T* const to = at<T>(y, pixel);
        if (factor) {
          const float by = to_float(*at<const T>(b, pixel));
          (accumulate ? scale_run<true, T, T> : scale_run<false, T, T>)(from, by, to, n);
        } else {
          (accumulate ? multiply_run<true, T> : multiply_run<false, T>)(from, at<const T>(b, pixel),
                                                                        to, n);
        }
      });
    });
  }

  void dot(const Tensor& a, const Tensor& b, const Tensor& y, bool accumulate) override {
    check_dot(a, b, y);
    visit_cpu(y.dtype, [&](auto type) {
      using T = decltype(type);
      parallel_runs(a.shape, false, [&](int64_t pixel, int64_t n) {
        T* const to = at<T>(y, pixel);
        const float sum =
            dot_run(at<const T>(a, pixel), at<const T>(b, pixel), static_cast<int>(n));
        *to = from_float<T>(accumulate ? to_float(*to) + sum : sum);
      });
    });
  }

 private:
  template <typename T>
  static void fill_with(const Tensor& y, T value) {
    parallel_runs(y.shape, y.dense(),
                  [&](int64_t pixel, int64_t n) { std::fill_n(at<T>(y, pixel), n, value); });
  }
};

}  // namespace

std::unique_ptr<ElementwiseOps> make_elementwise_ops() {
  return std::make_unique<CpuElementwiseOps>();
}

}  // namespace macadam::cpu
