// Batch normalisation on the CPU. Statistics are summed in fixed chunks of pixels and combined in
// order, in double.

#include <array>
#include <cmath>
#include <memory>

#include "base/to_size.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/norm_skip.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scalar/activation.h"
#include "kernels/scalar/normalize.h"

namespace macadam::cpu {

namespace {

using scalar::from_float;
using scalar::to_float;

/// Channels whose coefficients lie on the stack together.
constexpr int kChannelBlock = 256;

int64_t chunk_count(const Shape& shape) {
  return ceil_div(shape.pixels(), sum_chunk(shape.pixels()));
}

/// Two sums a channel and chunk, in the caller's workspace.
struct Partials {
  float* data;
  int channels;

  float* first(int64_t chunk) const { return data + 2 * chunk * channels; }
  float* second(int64_t chunk) const { return first(chunk) + channels; }
};

/// sum += d and squares += d * d over `pixels` pixels, with d = x - origin: sums around a value of
/// the channel itself do not cancel, wherever its mean lies.
template <typename T>
void sum_pixels(const T* x, int64_t stride, int64_t pixels, const T* origin, float* sum,
                float* squares, int channels) {
  int64_t p = 0;
  for (; p + 4 <= pixels; p += 4, x += 4 * stride) {
    const T *x1 = x + stride, *x2 = x + 2 * stride, *x3 = x + 3 * stride;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float o = to_float(origin[c]);
      const float d0 = to_float(x[c]) - o, d1 = to_float(x1[c]) - o;
      const float d2 = to_float(x2[c]) - o, d3 = to_float(x3[c]) - o;
      sum[c] += (d0 + d1) + (d2 + d3);
      squares[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
    }
  }
  for (; p < pixels; ++p, x += stride) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float d = to_float(x[c]) - to_float(origin[c]);
      sum[c] += d;
      squares[c] += d * d;
    }
  }
}

struct Moments {
  double mean, variance;  // biased
};

/// Chan, Golub and LeVeque's combination of the chunks of one channel, from their sums and sums of
/// squares around their first pixel.
template <typename T>
Moments combine(const Tensor& x, const Partials& partials, int channel) {
  const int64_t pixels = x.shape.pixels(), chunk = sum_chunk(pixels);
  double count = 0, mean = 0, m2 = 0;
  for (int64_t k = 0; k * chunk < pixels; ++k) {
    const auto n = static_cast<double>(std::min(pixels - k * chunk, chunk));
    const double sum = partials.first(k)[channel], squares = partials.second(k)[channel];
    const double chunk_mean = to_float(at<const T>(x, k * chunk)[channel]) + sum / n;
    const double delta = chunk_mean - mean;
    const double total = count + n;
    mean += delta * n / total;
    m2 += squares - sum * sum / n + delta * delta * count * n / total;
    count = total;
  }
  return {mean, std::max(0.0, m2 / count)};
}

/// Calls body(first pixel, pixels, first channel, channels) for blocks that cover the shape, in
/// parallel over pixels. A block has pixels enough to pay for its coefficients.
template <typename Body>
void parallel_blocks(const Shape& shape, const Body& body) {
  const int64_t chunk = std::max<int64_t>(64, kTaskElements / shape.c);
  parallel_chunks(shape.pixels(), chunk, [&](int64_t, int64_t begin, int64_t end) {
    for (int c = 0; c < shape.c; c += kChannelBlock) {
      body(begin, end - begin, c, std::min(kChannelBlock, shape.c - c));
    }
  });
}

template <typename T, typename F>
void affine_pixels(F activation, const T* x, int64_t x_stride, T* y, int64_t y_stride,
                   int64_t pixels, const float* scale, const float* shift, int channels) {
  for (int64_t p = 0; p < pixels; ++p, x += x_stride, y += y_stride) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      y[c] = from_float<T>(activation(scalar::Affine{scale[c], shift[c]}(to_float(x[c]))));
    }
  }
}

/// y = normalised x, with `skip` added if desc.adds. inv_std_of(channel) gives 1 / sqrt(var + eps).
template <typename T, typename InvStd>
void normalize(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma, const Tensor& beta,
               const Tensor& mean, const InvStd& inv_std_of, const Tensor& skip, const Tensor& y) {
  const float *g = gamma.as<float>(), *b = beta.as<float>(), *m = mean.as<float>();
  parallel_blocks(x.shape, [&](int64_t pixel, int64_t pixels, int channel, int channels) {
    alignas(64) std::array<float, kChannelBlock> scale, shift;
    for (int c = 0; c < channels; ++c) {
      const int k = channel + c;
      const scalar::Affine affine = scalar::batch_norm(g[k], b[k], m[k], inv_std_of(k));
      scale[to_size(c)] = affine.scale;
      shift[to_size(c)] = affine.shift;
    }
    scalar::visit_activation(desc.activation, [&](auto activation) {
      if (!desc.adds) {
        affine_pixels(activation, at<const T>(x, pixel) + channel, x.pixel_stride,
                      at<T>(y, pixel) + channel, y.pixel_stride, pixels, scale.data(), shift.data(),
                      channels);
        return;
      }
      by_sample(desc.drop_path, x.shape, pixel, pixel + pixels,
                [&](int64_t first, int64_t count, float factor) {
                  for (int64_t p = first; p < first + count; ++p) {
                    add_pixel(activation, at<const T>(x, p) + channel,
                              at<const T>(skip, p) + channel, at<T>(y, p) + channel, scale.data(),
                              shift.data(), factor, channels);
                  }
                });
    });
  });
}

/// A channel's coefficients for each of `kChannelBlock` channels.
struct GradientMaps {
  using Row = std::array<float, kChannelBlock>;

  alignas(64) Row affine_scale, affine_shift;  // from x to what the activation was given
  alignas(64) Row mean;
  alignas(64) Row scale, slope, shift;  // scalar::BatchNormGradient
};

/// gradient += d and projection += d * (x - mean) over `pixels` pixels, d being the gradient before
/// the activation; that behind it is `to_gradient` of dy and the channel.
template <typename T, typename F, typename ToGradient>
void sum_gradients(F activation, const GradientMaps& maps, const T* x, int64_t x_stride,
                   const T* dy, int64_t dy_stride, const ToGradient& to_gradient, int64_t pixels,
                   float* gradient, float* projection, int channels) {
  const float *a = maps.affine_scale.data(), *b = maps.affine_shift.data();
  const float* mean = maps.mean.data();
  const auto term = [&](float in, const T& d, int c) {
    return activation.gradient_at(scalar::Affine{a[c], b[c]}(in), to_gradient(to_float(d), c));
  };
  int64_t p = 0;
  for (; p + 2 <= pixels; p += 2, x += 2 * x_stride, dy += 2 * dy_stride) {
    const T *x1 = x + x_stride, *dy1 = dy + dy_stride;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float v0 = to_float(x[c]), v1 = to_float(x1[c]);
      const float d0 = term(v0, dy[c], c), d1 = term(v1, dy1[c], c);
      gradient[c] += d0 + d1;
      projection[c] += d0 * (v0 - mean[c]) + d1 * (v1 - mean[c]);
    }
  }
  if (p < pixels) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float v = to_float(x[c]), d = term(v, dy[c], c);
      gradient[c] += d;
      projection[c] += d * (v - mean[c]);
    }
  }
}

template <typename T, typename F, typename ToGradient>
void gradient_pixels(F activation, const GradientMaps& maps, const T* x, int64_t x_stride,
                     const T* dy, int64_t dy_stride, const ToGradient& to_gradient, T* dx,
                     int64_t dx_stride, int64_t pixels, int channels) {
  const float *a = maps.affine_scale.data(), *b = maps.affine_shift.data();
  const float *scale = maps.scale.data(), *slope = maps.slope.data(), *shift = maps.shift.data();
  for (int64_t p = 0; p < pixels; ++p, x += x_stride, dy += dy_stride, dx += dx_stride) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float in = to_float(x[c]);
      const float d =
          activation.gradient_at(scalar::Affine{a[c], b[c]}(in), to_gradient(to_float(dy[c]), c));
      dx[c] = from_float<T>(scalar::BatchNormGradient{scale[c], slope[c], shift[c]}(d, in));
    }
  }
}

/// sum_gradients where something is added: `factor` times the gradient of the sum of `pixels`
/// pixels of one sample, which is handed on to what was added.
template <typename T>
void sum_added_gradients(const SumGradient& source, const GradientMaps& maps, const Tensor& x,
                         int64_t pixel, int64_t pixels, int channel, float factor, float* gradient,
                         float* projection, int channels) {
  const float* mean = maps.mean.data();
  alignas(64) std::array<float, kChannelBlock> first, second;
  float *g0 = first.data(), *g1 = second.data();
  const auto take = [&](int64_t p, float* g) {
    source.read<T>(p, channel, channels, g);
    source.write<T>(p, channel, channels, g);
  };
  const int64_t end = pixel + pixels;
  for (; pixel + 2 <= end; pixel += 2) {
    take(pixel, g0);
    take(pixel + 1, g1);
    const T *x0 = at<const T>(x, pixel) + channel, *x1 = at<const T>(x, pixel + 1) + channel;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float v0 = to_float(x0[c]), v1 = to_float(x1[c]);
      const float d0 = g0[c] * factor, d1 = g1[c] * factor;
      gradient[c] += d0 + d1;
      projection[c] += d0 * (v0 - mean[c]) + d1 * (v1 - mean[c]);
    }
  }
  if (pixel < end) {
    take(pixel, g0);
    const T* x0 = at<const T>(x, pixel) + channel;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float v = to_float(x0[c]), d = g0[c] * factor;
      gradient[c] += d;
      projection[c] += d * (v - mean[c]);
    }
  }
}

/// gradient_pixels where something is added.
template <typename T>
void added_gradient_pixels(const SumGradient& source, const GradientMaps& maps, const Tensor& x,
                           const Tensor& dx, int64_t pixel, int64_t pixels, int channel,
                           float factor, int channels) {
  const float *scale = maps.scale.data(), *slope = maps.slope.data(), *shift = maps.shift.data();
  alignas(64) std::array<float, kChannelBlock> row;
  float* g = row.data();
  for (int64_t p = pixel; p < pixel + pixels; ++p) {
    source.read<T>(p, channel, channels, g);
    const T* in = at<const T>(x, p) + channel;
    T* out = at<T>(dx, p) + channel;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const scalar::BatchNormGradient map{scale[c], slope[c], shift[c]};
      out[c] = from_float<T>(map(g[c] * factor, to_float(in[c])));
    }
  }
}

template <typename T>
void train_step(const BatchNormDesc& desc, const Tensor& x, const Tensor& running_mean,
                const Tensor& running_var, const Tensor& saved_mean, const Tensor& saved_inv_std,
                const Partials& partials) {
  const int channels = x.shape.c;
  parallel_chunks(x.shape.pixels(), sum_chunk(x.shape.pixels()),
                  [&](int64_t k, int64_t begin, int64_t end) {
                    std::fill_n(partials.first(k), 2 * channels, 0.0f);
                    const T* first = at<const T>(x, begin);
                    sum_pixels(first, x.pixel_stride, end - begin, first, partials.first(k),
                               partials.second(k), channels);
                  });
  const auto count = static_cast<double>(x.shape.pixels());
  const double unbias = count > 1 ? count / (count - 1) : 1.0;
  const auto blend = [&](float& running, double batch) {
    running = static_cast<float>((1.0 - desc.momentum) * running + desc.momentum * batch);
  };
  for (int c = 0; c < channels; ++c) {
    const Moments moments = combine<T>(x, partials, c);
    saved_mean.as<float>()[c] = static_cast<float>(moments.mean);
    saved_inv_std.as<float>()[c] =
        static_cast<float>(1.0 / std::sqrt(moments.variance + double{desc.eps}));
    blend(running_mean.as<float>()[c], moments.mean);
    blend(running_var.as<float>()[c], moments.variance * unbias);
  }
}

/// What backward() will need of statistics that are constants.
void save_running(const BatchNormDesc& desc, const Tensor& running_mean, const Tensor& running_var,
                  const Tensor& saved_mean, const Tensor& saved_inv_std) {
  for (int c = 0; c < running_mean.shape.c; ++c) {
    saved_mean.as<float>()[c] = running_mean.as<float>()[c];
    saved_inv_std.as<float>()[c] = scalar::inverse_std(running_var.as<float>()[c], desc.eps);
  }
}

/// What backward() is given, beside the workspace.
struct BackwardCall {
  const BatchNormDesc& desc;
  const Tensor &x, &dy, &dmeans, &gamma, &beta, &saved_mean, &saved_inv_std;
  const SkipGradient& skip;
  const Tensor &dx, &dgamma, &dbeta;

  /// The coefficients of the channels from `first` on. Those of the gradient need dgamma and dbeta.
  GradientMaps maps(int first, int channels, bool with_gradient) const {
    const float *g = gamma.as<float>(), *b = beta.as<float>(), *m = saved_mean.as<float>();
    const float *inv_std = saved_inv_std.as<float>(), *dg = dgamma.as<float>();
    const float* db = dbeta.as<float>();
    const auto count = static_cast<double>(x.shape.pixels());
    GradientMaps maps;
    for (int c = 0; c < channels; ++c) {
      const int k = first + c;
      const auto i = to_size(c);
      const scalar::Affine affine = scalar::batch_norm(g[k], b[k], m[k], inv_std[k]);
      maps.affine_scale[i] = affine.scale, maps.affine_shift[i] = affine.shift;
      maps.mean[i] = m[k];
      if (!with_gradient) continue;
      const scalar::BatchNormGradient map =
          desc.frozen ? scalar::frozen_batch_norm_gradient(g[k], inv_std[k])
                      : scalar::batch_norm_gradient(g[k], m[k], inv_std[k], dg[k], db[k], count);
      maps.scale[i] = map.scale, maps.slope[i] = map.slope, maps.shift[i] = map.shift;
    }
    return maps;
  }
};

/// dgamma and dbeta from sums(first pixel, last, maps, first channel, channels, gradient,
/// projection), which adds the terms of so many pixels.
template <typename Sums>
void sum_backward(const BackwardCall& call, const Partials& partials, const Sums& sums) {
  const Shape& shape = call.x.shape;
  const int channels = shape.c;
  parallel_chunks(shape.pixels(), sum_chunk(shape.pixels()),
                  [&](int64_t k, int64_t begin, int64_t end) {
                    std::fill_n(partials.first(k), 2 * channels, 0.0f);
                    for (int c = 0; c < channels; c += kChannelBlock) {
                      const int block = std::min(kChannelBlock, channels - c);
                      sums(begin, end, call.maps(c, block, false), c, block, partials.first(k) + c,
                           partials.second(k) + c);
                    }
                  });
  for (int c = 0; c < channels; ++c) {
    double gradient = 0, projection = 0;
    for (int64_t k = 0; k < chunk_count(shape); ++k) {
      gradient += partials.first(k)[c];
      projection += partials.second(k)[c];
    }
    call.dbeta.as<float>()[c] = static_cast<float>(gradient);
    call.dgamma.as<float>()[c] = static_cast<float>(projection * call.saved_inv_std.as<float>()[c]);
  }
}

/// Calls body(first pixel, pixels, to_gradient) for parts of the pixels [begin, end),
/// to_gradient(d, c) being what y's gradient is for dy's value d in channel first + c.
template <typename T, typename Body>
void by_mean(const BackwardCall& call, int64_t begin, int64_t end, int first, int channels,
             const Body& body) {
  if (call.dmeans.data == nullptr) {
    body(begin, end - begin, [](float d, int) { return d; });
    return;
  }
  const Shape& shape = call.x.shape;
  const int64_t pixels = int64_t{shape.h} * shape.w;
  const float share = 1.0f / static_cast<float>(pixels);
  alignas(64) std::array<float, kChannelBlock> row;
  float* shares = row.data();
  while (begin < end) {
    const int64_t image = begin / pixels, stop = std::min(end, (image + 1) * pixels);
    const T* dmeans = at<const T>(call.dmeans, image) + first;
    for (int c = 0; c < channels; ++c) shares[c] = to_float(dmeans[c]) * share;
    body(begin, stop - begin, [shares](float d, int c) { return d + shares[c]; });
    begin = stop;
  }
}

template <typename T, typename F>
void backward_step(F activation, const BackwardCall& call, const Partials& partials) {
  const Tensor &x = call.x, &dy = call.dy, &dx = call.dx;
  sum_backward(call, partials,
               [&](int64_t begin, int64_t end, const GradientMaps& maps, int channel, int channels,
                   float* gradient, float* projection) {
                 by_mean<T>(call, begin, end, channel, channels,
                            [&](int64_t first, int64_t count, const auto& to_gradient) {
                              sum_gradients(activation, maps, at<const T>(x, first) + channel,
                                            x.pixel_stride, at<const T>(dy, first) + channel,
                                            dy.pixel_stride, to_gradient, count, gradient,
                                            projection, channels);
                            });
               });
  if (dx.data == nullptr) return;
  parallel_blocks(x.shape, [&](int64_t pixel, int64_t pixels, int channel, int block) {
    const GradientMaps maps = call.maps(channel, block, true);
    by_mean<T>(call, pixel, pixel + pixels, channel, block,
               [&](int64_t first, int64_t count, const auto& to_gradient) {
                 gradient_pixels(activation, maps, at<const T>(x, first) + channel, x.pixel_stride,
                                 at<const T>(dy, first) + channel, dy.pixel_stride, to_gradient,
                                 at<T>(dx, first) + channel, dx.pixel_stride, count, block);
               });
  });
}

template <typename T>
void added_backward_step(const BackwardCall& call, const Partials& partials) {
  const Tensor& x = call.x;
  const Dropout& drop = call.desc.drop_path;
  const SumGradient source(call.desc, call.dy, call.skip), stored = source.stored();
  sum_backward(call, partials,
               [&](int64_t begin, int64_t end, const GradientMaps& maps, int channel, int channels,
                   float* gradient, float* projection) {
                 by_sample(drop, x.shape, begin, end,
                           [&](int64_t first, int64_t count, float factor) {
                             sum_added_gradients<T>(source, maps, x, first, count, channel, factor,
                                                    gradient, projection, channels);
                           });
               });
  if (call.dx.data == nullptr) return;
  parallel_blocks(x.shape, [&](int64_t pixel, int64_t pixels, int channel, int block) {
    const GradientMaps maps = call.maps(channel, block, true);
    by_sample(
        drop, x.shape, pixel, pixel + pixels, [&](int64_t first, int64_t count, float factor) {
          added_gradient_pixels<T>(stored, maps, x, call.dx, first, count, channel, factor, block);
        });
  });
}

/// c {rows, columns} = a {rows, middle} * b {middle, columns}. A few rows of c lie in the cache
/// while those of b pass by.
void multiply_matrices(const float* a, const float* b, float* c, int rows, int middle,
                       int64_t columns) {
  constexpr int kRows = 8;
  constexpr int64_t kColumns = 256;
  const int64_t row_blocks = ceil_div(rows, kRows), column_blocks = ceil_div(columns, kColumns);
  parallel_items(row_blocks * column_blocks, kRows * kColumns * middle, [&](int64_t block) {
    const auto first = static_cast<int>(block / column_blocks) * kRows;
    const int64_t begin = block % column_blocks * kColumns;
    const int count = std::min(kRows, rows - first);
    const auto width = static_cast<int>(std::min(kColumns, columns - begin));
    alignas(64) float sums[kRows][kColumns] = {};
    for (int m = 0; m < middle; ++m) {
      const float* const from = b + m * columns + begin;
      for (int r = 0; r < count; ++r) {
        const float factor = a[int64_t{first + r} * middle + m];
        float* const sum = sums[r];
#pragma omp simd
        for (int i = 0; i < width; ++i) sum[i] += factor * from[i];
      }
    }
    for (int r = 0; r < count; ++r) {
      std::copy_n(sums[r], width, c + int64_t{first + r} * columns + begin);
    }
  });
}

class CpuNormOps final : public NormOps {
 public:
  size_t workspace_bytes(Shape shape) const override {
    return to_size(2 * chunk_count(shape) * shape.c) * sizeof(float);
  }

  void train(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma, const Tensor& beta,
             const Tensor& running_mean, const Tensor& running_var, const Tensor& saved_mean,
             const Tensor& saved_inv_std, const Tensor& skip, const Tensor& y,
             void* workspace) override {
    check_train(desc, x, skip, y);
    const Partials partials{static_cast<float*>(workspace), x.shape.c};
    const float* inv_std = saved_inv_std.as<float>();
    visit_cpu(x.dtype, [&](auto type) {
      using T = decltype(type);
      if (desc.frozen) {
        save_running(desc, running_mean, running_var, saved_mean, saved_inv_std);
      } else {
        train_step<T>(desc, x, running_mean, running_var, saved_mean, saved_inv_std, partials);
      }
      normalize<T>(
          desc, x, gamma, beta, saved_mean, [&](int c) { return inv_std[c]; }, skip, y);
    });
  }

  void infer(const BatchNormDesc& desc, const Tensor& x, const Tensor& gamma, const Tensor& beta,
             const Tensor& running_mean, const Tensor& running_var, const Tensor& y) override {
    require(x.shape == y.shape && x.dtype == y.dtype, "batch norm: x and y match");
    require(!desc.adds, "batch norm: infer() adds nothing");
    const float* variance = running_var.as<float>();
    const auto inv_std = [&](int c) { return scalar::inverse_std(variance[c], desc.eps); };
    visit_cpu(x.dtype, [&](auto type) {
      normalize<decltype(type)>(desc, x, gamma, beta, running_mean, inv_std, {}, y);
    });
  }

  void backward(const BatchNormDesc& desc, const Tensor& x, const Tensor& dy, const Tensor& dmeans,
                const Tensor& gamma, const Tensor& beta, const Tensor& saved_mean,
                const Tensor& saved_inv_std, const SkipGradient& skip, const Tensor& dx,
                const Tensor& dgamma, const Tensor& dbeta, void* workspace) override {
    check_backward(desc, x, dy, dmeans, skip, dx);
    const Partials partials{static_cast<float*>(workspace), x.shape.c};
    const BackwardCall call{desc,          x,    dy, dmeans, gamma, beta, saved_mean,
                            saved_inv_std, skip, dx, dgamma, dbeta};
    visit_cpu(x.dtype, [&](auto type) {
      if (desc.adds) {
        added_backward_step<decltype(type)>(call, partials);
        return;
      }
      scalar::visit_activation(desc.activation, [&](auto activation) {
        backward_step<decltype(type)>(activation, call, partials);
      });
    });
  }

  void fold(const BatchNormDesc& desc, const Tensor& weights, const Tensor& bias,
            const Tensor& gamma, const Tensor& beta, const Tensor& running_mean,
            const Tensor& running_var, const Tensor& folded_weights,
            const Tensor& folded_bias) override {
    require(weights.dense() && weights.shape == folded_weights.shape, "fold: weights match");
    const int64_t per_filter = weights.shape.elements() / weights.shape.n;
    for (int k = 0; k < weights.shape.n; ++k) {
      const scalar::Affine map =
          scalar::batch_norm(gamma.as<float>()[k], beta.as<float>()[k], running_mean.as<float>()[k],
                             scalar::inverse_std(running_var.as<float>()[k], desc.eps));
      const float* from = weights.as<float>() + k * per_filter;
      float* to = folded_weights.as<float>() + k * per_filter;
      for (int64_t i = 0; i < per_filter; ++i) to[i] = from[i] * map.scale;
      folded_bias.as<float>()[k] = map(bias.data != nullptr ? bias.as<float>()[k] : 0.0f);
    }
  }

  void compose(const Tensor& first, const Tensor& first_bias, const Tensor& second,
               const Tensor& second_bias, const Tensor& product,
               const Tensor& product_bias) override {
    check_compose(first, first_bias, second, second_bias, product, product_bias);
    const int filters = second.shape.n, middle = second.shape.c;
    const int64_t columns = first.shape.elements() / middle;
    multiply_matrices(second.as<float>(), first.as<float>(), product.as<float>(), filters, middle,
                      columns);
    for (int k = 0; k < filters; ++k) {
      double sum = second_bias.as<float>()[k];
      for (int m = 0; m < middle; ++m) {
        sum += double{second.as<float>()[int64_t{k} * middle + m]} * first_bias.as<float>()[m];
      }
      product_bias.as<float>()[k] = static_cast<float>(sum);
    }
  }
};

}  // namespace

std::unique_ptr<NormOps> make_norm_ops() { return std::make_unique<CpuNormOps>(); }

}  // namespace macadam::cpu
