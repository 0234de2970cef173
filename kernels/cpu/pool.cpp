// Max and average pooling on the CPU, with a fast path for windows of 2x2 at stride 2.

#include "kernels/scalar/pool.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>

#include "base/to_size.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"

namespace macadam::cpu {

namespace {

using scalar::from_float;
using scalar::Range;
using scalar::to_float;

/// Channels whose running values lie on the stack together.
constexpr int kChannelBlock = 128;

bool is_2x2(const PoolDesc& d) {
  return d.kernel_h == 2 && d.kernel_w == 2 && d.stride_h == 2 && d.stride_w == 2 &&
         d.padding == Padding{} && !d.ceil_mode;
}

/// The pixels along one axis that a 2x2 pooling of `in` pixels reads.
int covered(int in) { return in / 2 * 2; }

Range rows_of(const PoolDesc& d, int oh, int height) {
  if (d.is_grid()) return scalar::grid_window(oh, d.grid_h, height);
  return scalar::pool_window(oh, d.kernel_h, d.stride_h, d.padding.top, height);
}
Range columns_of(const PoolDesc& d, int ow, int width) {
  if (d.is_grid()) return scalar::grid_window(ow, d.grid_w, width);
  return scalar::pool_window(ow, d.kernel_w, d.stride_w, d.padding.left, width);
}

/// The outputs whose windows cover row `h`, and column `w`.
Range row_readers(const PoolDesc& d, int h, int height, int out_height) {
  if (d.is_grid()) return scalar::grid_readers(h, d.grid_h, height);
  return scalar::pool_readers(h, d.kernel_h, d.stride_h, d.padding.top, out_height);
}
Range column_readers(const PoolDesc& d, int w, int width, int out_width) {
  if (d.is_grid()) return scalar::grid_readers(w, d.grid_w, width);
  return scalar::pool_readers(w, d.kernel_w, d.stride_w, d.padding.left, out_width);
}

/// Calls body(pixel, image, row) for the first pixel of every row of a shape, in parallel.
template <typename Body>
void parallel_rows(const Shape& s, const Body& body) {
  parallel_items(int64_t{s.n} * s.h, int64_t{s.w} * s.c, [&](int64_t i) {
    body(i * s.w, static_cast<int>(i / s.h), static_cast<int>(i % s.h));
  });
}

/// The pixel at a place of an image.
int64_t pixel_at(const Shape& s, int n, int h, int w) { return (int64_t{n} * s.h + h) * s.w + w; }

/// Values compared as integers of their own width: vectors then hold twice as many bf16 as they
/// would hold floats, and nothing is converted.
template <typename T>
struct Ordered;

template <>
struct Ordered<bf16> {
  using Int = int16_t;
  static constexpr Int kMagnitude = 0x7fff, kInfinity = 0x7f80;
  static Int bits(bf16 value) { return static_cast<Int>(value.bits); }
  static bf16 value(Int bits) { return {static_cast<uint16_t>(bits)}; }
};

template <>
struct Ordered<float> {
  using Int = int32_t;
  static constexpr Int kMagnitude = 0x7fffffff, kInfinity = 0x7f800000;
  static Int bits(float value) { return static_cast<Int>(scalar::bits_of_float(value)); }
  static float value(Int bits) { return scalar::float_of_bits(static_cast<uint32_t>(bits)); }
};

template <typename T>
using Int = typename Ordered<T>::Int;

/// Integers in the order of scalar::pool_wins: every NaN is the greatest, -0 equals 0.
template <typename T>
Int<T> order_key(Int<T> bits) {
  using Order = Ordered<T>;
  const Int<T> magnitude = bits & Order::kMagnitude;
  const Int<T> sign = bits >> (8 * sizeof(T) - 1);  // 0 or -1
  const auto key = static_cast<Int<T>>((magnitude ^ sign) - sign);
  return magnitude > Order::kInfinity ? Order::kMagnitude : key;
}

/// Lets `candidate` replace the winner so far: its key, its own bits, its place in the window.
template <typename T>
void offer(T candidate, Int<T> candidate_position, Int<T>& key, Int<T>& bits, Int<T>& position) {
  const Int<T> candidate_bits = Ordered<T>::bits(candidate);
  const Int<T> candidate_key = order_key<T>(candidate_bits);
  const bool wins = candidate_key > key;
  key = wins ? candidate_key : key;
  bits = wins ? candidate_bits : bits;
  position = wins ? candidate_position : position;
}

/// Positions as bytes: a loop of its own, so that the one before it has a single width.
template <typename Position>
void narrow(const Position* positions, uint8_t* index, int n) {
#pragma omp simd
  for (int i = 0; i < n; ++i) index[i] = static_cast<uint8_t>(positions[i]);
}

/// y (and index) of one output pixel from the window's four pixels, in row-major order. At most
/// kChannelBlock channels.
template <bool WithIndex, typename T>
void max_of_four(const T* a, const T* b, const T* c, const T* d, T* y, uint8_t* index, int n) {
  alignas(64) std::array<Int<T>, kChannelBlock> positions;
  Int<T>* const position = positions.data();
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    Int<T> bits = Ordered<T>::bits(a[i]), key = order_key<T>(bits), at_position = 0;
    offer<T>(b[i], 1, key, bits, at_position);
    offer<T>(c[i], 2, key, bits, at_position);
    offer<T>(d[i], 3, key, bits, at_position);
    y[i] = Ordered<T>::value(bits);
    if constexpr (WithIndex) position[i] = at_position;
  }
  if constexpr (WithIndex) narrow(position, index, n);
}

template <bool WithIndex, typename T>
void max_2x2(const Tensor& x, const Tensor& y, uint8_t* index) {
  const Shape &in = x.shape, &out = y.shape;
  parallel_rows(out, [&](int64_t pixel, int n, int oh) {
    const T* upper = at<const T>(x, pixel_at(in, n, 2 * oh, 0));
    const T* lower = at<const T>(x, pixel_at(in, n, 2 * oh + 1, 0));
    const int64_t step = x.pixel_stride;
    T* to = at<T>(y, pixel);
    uint8_t* chosen = WithIndex ? index + pixel * out.c : nullptr;
    for (int ow = 0; ow < out.w; ++ow) {
      for (int i = 0; i < out.c; i += kChannelBlock) {
        max_of_four<WithIndex>(upper + i, upper + step + i, lower + i, lower + step + i, to + i,
                               WithIndex ? chosen + i : nullptr,
                               std::min(kChannelBlock, out.c - i));
      }
      upper += 2 * step, lower += 2 * step, to += y.pixel_stride;
      if constexpr (WithIndex) chosen += out.c;
    }
  });
}

/// One output pixel of any window, `n` <= kChannelBlock channels from y and index on. A window
/// wholly in the padding gives -infinity.
template <typename T>
void max_of_window(const PoolDesc& d, const Tensor& x, int64_t image, Range rows, Range columns,
                   int row_origin, int column_origin, int channel, T* y, uint8_t* index, int n) {
  using Block = std::array<Int<T>, kChannelBlock>;
  alignas(64) Block keys, bits, positions;
  bits.fill(Ordered<T>::bits(from_float<T>(-std::numeric_limits<float>::infinity())));
  keys.fill(std::numeric_limits<Int<T>>::min());  // anything wins against it
  positions.fill(0);
  for (int h = rows.begin; h < rows.end; ++h) {
    for (int w = columns.begin; w < columns.end; ++w) {
      const T* from = at<const T>(x, image + int64_t{h} * x.shape.w + w) + channel;
      const auto k = static_cast<Int<T>>((h - row_origin) * d.kernel_w + (w - column_origin));
      Int<T>*const key = keys.data(), *const bit = bits.data(), *const position = positions.data();
#pragma omp simd
      for (int i = 0; i < n; ++i) {
        offer<T>(from[i], k, key[i], bit[i], position[i]);
      }
    }
  }
  const Int<T>* const bit = bits.data();
#pragma omp simd
  for (int i = 0; i < n; ++i) y[i] = Ordered<T>::value(bit[i]);
  if (index != nullptr) narrow(positions.data(), index, n);
}

template <typename T>
void max_any(const PoolDesc& d, const Tensor& x, const Tensor& y, uint8_t* index) {
  const Shape &in = x.shape, &out = y.shape;
  parallel_rows(out, [&](int64_t pixel, int n, int oh) {
    const Range rows = rows_of(d, oh, in.h);
    for (int ow = 0; ow < out.w; ++ow, ++pixel) {
      const Range columns = columns_of(d, ow, in.w);
      for (int c = 0; c < out.c; c += kChannelBlock) {
        max_of_window(d, x, pixel_at(in, n, 0, 0), rows, columns, oh * d.stride_h - d.padding.top,
                      ow * d.stride_w - d.padding.left, c, at<T>(y, pixel) + c,
                      index == nullptr ? nullptr : index + pixel * out.c + c,
                      std::min(kChannelBlock, out.c - c));
      }
    }
  });
}

/// Writes or adds `gradient` into dx.
template <bool Accumulate, typename T>
void put(T& dx, float gradient) {
  dx = from_float<T>(Accumulate ? to_float(dx) + gradient : gradient);
}

/// Writes or adds `dy`, as it is or as nothing.
template <bool Accumulate, typename T>
void put_if(bool chosen, T dy, T& dx) {
  using Order = Ordered<T>;
  if constexpr (Accumulate) {
    put<true>(dx, chosen ? to_float(dy) : 0.0f);
  } else {
    dx = Order::value(chosen ? Order::bits(dy) : Int<T>{0});
  }
}

/// The four input pixels of one output pixel; at most kChannelBlock channels.
template <bool Accumulate, typename T>
void spread_to_four(const T* dy, const uint8_t* index, T* a, T* b, T* c, T* d, int n) {
  // Positions in the width of the values, again so that the main loop has a single width.
  alignas(64) std::array<Int<T>, kChannelBlock> positions;
  Int<T>* const position = positions.data();
#pragma omp simd
  for (int i = 0; i < n; ++i) position[i] = index[i];
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    put_if<Accumulate>(position[i] == 0, dy[i], a[i]);
    put_if<Accumulate>(position[i] == 1, dy[i], b[i]);
    put_if<Accumulate>(position[i] == 2, dy[i], c[i]);
    put_if<Accumulate>(position[i] == 3, dy[i], d[i]);
  }
}

template <bool Accumulate, typename T>
void max_2x2_backward(const Tensor& dy, const uint8_t* index, const Tensor& dx) {
  const Shape &in = dx.shape, &out = dy.shape;
  parallel_rows(out, [&](int64_t pixel, int n, int oh) {
    T* upper = at<T>(dx, pixel_at(in, n, 2 * oh, 0));
    T* lower = at<T>(dx, pixel_at(in, n, 2 * oh + 1, 0));
    const int64_t step = dx.pixel_stride;
    const T* from = at<const T>(dy, pixel);
    const uint8_t* chosen = index + pixel * out.c;
    for (int ow = 0; ow < out.w; ++ow) {
      for (int i = 0; i < out.c; i += kChannelBlock) {
        spread_to_four<Accumulate>(from + i, chosen + i, upper + i, upper + step + i, lower + i,
                                   lower + step + i, std::min(kChannelBlock, out.c - i));
      }
      upper += 2 * step, lower += 2 * step, from += dy.pixel_stride, chosen += out.c;
    }
  });
  if constexpr (Accumulate) return;
  // The last row and column of an odd size belong to no window.
  parallel_rows(in, [&](int64_t pixel, int, int h) {
    for (int w = h < covered(in.h) ? covered(in.w) : 0; w < in.w; ++w) {
      std::memset(at<T>(dx, pixel + w), 0, to_size(in.c) * sizeof(T));
    }
  });
}

/// Calls body(pixel, channel, channels, rows, columns) for blocks of channels of every input
/// pixel, with the output rows and columns whose windows cover it, in parallel.
template <typename Body>
void parallel_readers(const PoolDesc& d, const Shape& in, const Shape& out, const Body& body) {
  parallel_rows(in, [&](int64_t pixel, int n, int h) {
    const Range rows = row_readers(d, h, in.h, out.h);
    for (int w = 0; w < in.w; ++w, ++pixel) {
      const Range columns = column_readers(d, w, in.w, out.w);
      for (int c = 0; c < in.c; c += kChannelBlock) {
        body(pixel, n, h, w, c, std::min(kChannelBlock, in.c - c), rows, columns);
      }
    }
  });
}

template <bool Accumulate, typename T>
void put_block(const float* gradient, T* dx, int n) {
#pragma omp simd
  for (int i = 0; i < n; ++i) put<Accumulate>(dx[i], gradient[i]);
}

template <bool Accumulate, typename T>
void max_any_backward(const PoolDesc& d, const Tensor& dy, const uint8_t* index, const Tensor& dx) {
  const Shape& out = dy.shape;
  parallel_readers(
      d, dx.shape, out,
      [&](int64_t pixel, int image, int h, int w, int channel, int n, Range rows, Range columns) {
        alignas(64) std::array<float, kChannelBlock> sums{};
        float* const sum = sums.data();
        for (int oh = rows.begin; oh < rows.end; ++oh) {
          const int kh = h + d.padding.top - oh * d.stride_h;
          for (int ow = columns.begin; ow < columns.end; ++ow) {
            const int kw = w + d.padding.left - ow * d.stride_w;
            const auto k = static_cast<uint8_t>(kh * d.kernel_w + kw);
            const int64_t reader = pixel_at(out, image, oh, ow);
            const T* from = at<const T>(dy, reader) + channel;
            const uint8_t* chosen = index + reader * out.c + channel;
#pragma omp simd
            for (int i = 0; i < n; ++i) {
              sum[i] += chosen[i] == k ? to_float(from[i]) : 0.0f;
            }
          }
        }
        put_block<Accumulate>(sum, at<T>(dx, pixel) + channel, n);
      });
}

/// What the sum over output row `oh`'s and column `ow`'s window is multiplied by.
float share_of(const PoolDesc& d, const Shape& in, int oh, int ow) {
  if (d.is_grid()) {
    const Range rows = rows_of(d, oh, in.h), columns = columns_of(d, ow, in.w);
    return 1.0f / static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
  }
  const Padding& p = d.padding;
  return 1.0f / static_cast<float>(scalar::pool_count(oh, d.kernel_h, d.stride_h, p.top, p.bottom,
                                                      in.h, d.count_padding) *
                                   scalar::pool_count(ow, d.kernel_w, d.stride_w, p.left, p.right,
                                                      in.w, d.count_padding));
}

template <typename T>
void average_any(const PoolDesc& d, const Tensor& x, const Tensor& y) {
  const Shape &in = x.shape, &out = y.shape;
  parallel_rows(out, [&](int64_t pixel, int image, int oh) {
    const Range rows = rows_of(d, oh, in.h);
    for (int ow = 0; ow < out.w; ++ow, ++pixel) {
      const Range columns = columns_of(d, ow, in.w);
      const float share = share_of(d, in, oh, ow);
      for (int channel = 0; channel < out.c; channel += kChannelBlock) {
        const int n = std::min(kChannelBlock, out.c - channel);
        alignas(64) std::array<float, kChannelBlock> sums{};
        float* const sum = sums.data();
        for (int h = rows.begin; h < rows.end; ++h) {
          for (int w = columns.begin; w < columns.end; ++w) {
            const T* from = at<const T>(x, pixel_at(in, image, h, w)) + channel;
#pragma omp simd
            for (int i = 0; i < n; ++i) sum[i] += to_float(from[i]);
          }
        }
        T* to = at<T>(y, pixel) + channel;
#pragma omp simd
        for (int i = 0; i < n; ++i) to[i] = from_float<T>(sum[i] * share);
      }
    }
  });
}

template <bool Accumulate, typename T>
void average_any_backward(const PoolDesc& d, const Tensor& dy, const Tensor& dx) {
  const Shape &in = dx.shape, &out = dy.shape;
  parallel_readers(
      d, in, out,
      [&](int64_t pixel, int image, int, int, int channel, int n, Range rows, Range columns) {
        alignas(64) std::array<float, kChannelBlock> sums{};
        float* const sum = sums.data();
        for (int oh = rows.begin; oh < rows.end; ++oh) {
          for (int ow = columns.begin; ow < columns.end; ++ow) {
            const float share = share_of(d, in, oh, ow);
            const T* from = at<const T>(dy, pixel_at(out, image, oh, ow)) + channel;
#pragma omp simd
            for (int i = 0; i < n; ++i) sum[i] += to_float(from[i]) * share;
          }
        }
        put_block<Accumulate>(sum, at<T>(dx, pixel) + channel, n);
      });
}

class CpuPoolOps final : public PoolOps {
 public:
  void max(const PoolDesc& desc, const Tensor& x, const Tensor& y, const Tensor& index) override {
    check(desc, x, y);
    require(!desc.is_grid() && desc.kernel_h * desc.kernel_w <= 255,
            "max pool: windows of one size, at most 255 positions");
    uint8_t* chosen = index_of(index, y);
    visit_cpu(x.dtype, [&](auto type) {
      using T = decltype(type);
      if (!is_2x2(desc)) return max_any<T>(desc, x, y, chosen);
      chosen == nullptr ? max_2x2<false, T>(x, y, chosen) : max_2x2<true, T>(x, y, chosen);
    });
  }

  void max_backward(const PoolDesc& desc, const Tensor& dy, const Tensor& index, const Tensor& dx,
                    bool accumulate) override {
    check(desc, dx, dy);
    const uint8_t* chosen = index_of(index, dy);
    require(chosen != nullptr, "max pool backward: the index is given");
    visit_cpu(dx.dtype, [&](auto type) {
      using T = decltype(type);
      if (is_2x2(desc)) {
        accumulate ? max_2x2_backward<true, T>(dy, chosen, dx)
                   : max_2x2_backward<false, T>(dy, chosen, dx);
      } else {
        accumulate ? max_any_backward<true, T>(desc, dy, chosen, dx)
                   : max_any_backward<false, T>(desc, dy, chosen, dx);
      }
    });
  }

  void average(const PoolDesc& desc, const Tensor& x, const Tensor& y) override {
    check(desc, x, y);
    visit_cpu(x.dtype, [&](auto type) { average_any<decltype(type)>(desc, x, y); });
  }

  void average_backward(const PoolDesc& desc, const Tensor& dy, const Tensor& dx,
                        bool accumulate) override {
    check(desc, dx, dy);
    visit_cpu(dx.dtype, [&](auto type) {
      using T = decltype(type);
      accumulate ? average_any_backward<true, T>(desc, dy, dx)
                 : average_any_backward<false, T>(desc, dy, dx);
    });
  }

 private:
  static void check(const PoolDesc& desc, const Tensor& input, const Tensor& output) {
    require(desc.output(input.shape) == output.shape, "pool: the output has the window's shape");
    require(input.dtype == output.dtype, "pool: dtypes are equal");
  }

  static uint8_t* index_of(const Tensor& index, const Tensor& output) {
    if (index.data == nullptr) return nullptr;
    require(index.shape == output.shape && index.dense(), "max pool: index is dense, like y");
    return index.as<uint8_t>();
  }
};

}  // namespace

std::unique_ptr<PoolOps> make_pool_ops() { return std::make_unique<CpuPoolOps>(); }

}  // namespace macadam::cpu
